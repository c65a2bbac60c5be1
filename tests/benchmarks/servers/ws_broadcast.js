// A bare broadcast on `ws`: what one connection says goes to all in the room, as it is. The path of a connection is its
// room. Argument: port.
const { WebSocketServer } = require("ws");

const [port] = process.argv.slice(2);
/** @type {Map<string | undefined, Set<import("ws").WebSocket>>} */
const rooms = new Map();

const server = new WebSocketServer({ host: "127.0.0.1", port: Number(port), backlog: 4096 }, () =>
  console.log("listening"),
);
server.on("connection", (socket, request) => {
  const members = rooms.get(request.url) ?? new Set();
  rooms.set(request.url, members);
  members.add(socket);
  socket.on("close", () => members.delete(socket));
  socket.on("message", (data) => {
    for (const member of members) member.send(data, { binary: false });
  });
});
