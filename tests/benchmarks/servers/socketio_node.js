// Socket.IO on Node: rooms whose members are told what one of them says. Arguments: port, and a Redis' socket if its
// adapter is to be used, or "recovery" if people who come back are to get what they missed. Everything that costs and
// that the scenarios do not need is left at its default: off.
const { createServer } = require("http");
const { randomUUID } = require("crypto");
const { Server } = require("socket.io");

const TTL = 60_000;
const [port, extra] = process.argv.slice(2);
const recovers = extra === "recovery";

/** @param {string} redis */
async function adapter(redis) {
  const { createAdapter } = require("@socket.io/redis-adapter");
  const { createClient } = require("redis");
  const publisher = createClient({ socket: { path: redis, tls: false } });
  const subscriber = publisher.duplicate();
  await Promise.all([publisher.connect(), subscriber.connect()]);
  return createAdapter(publisher, subscriber);
}

async function main() {
  const http = createServer();
  /** @type {Partial<import("socket.io").ServerOptions>} */
  const options = { transports: ["websocket"], serveClient: false, pingInterval: 3_600_000 };
  if (recovers) options.connectionStateRecovery = {};
  const io = new Server(http, options);
  if (extra && !recovers) io.adapter(await adapter(extra));
  let count = 0;
  io.on("connection", (socket) => {
    socket.on("join", async (room, acknowledge) => {
      await socket.join(room);
      acknowledge("joined");
    });
    socket.on("leave", async (room, acknowledge) => {
      await socket.leave(room);
      acknowledge("left");
    });
    socket.on("send", (room, content, acknowledge) => {
      const now = Date.now();
      const messageId = randomUUID();
      const createdAt = new Date(now).toISOString();
      const expiresAt = new Date(now + TTL).toISOString();
      count += 1;
      io.to(room).emit("message", {
        type: "message",
        roomId: room,
        messageId,
        senderId: socket.id,
        senderName: "Guest 0",
        content,
        createdAt,
        expiresAt,
        cursor: `0123456789abcdef-${now}-${now}-${count}`,
      });
      acknowledge({ messageId, createdAt, expiresAt });
    });
  });
  http.listen(Number(port), "127.0.0.1", 4096, () => console.log("listening"));
}

main();
