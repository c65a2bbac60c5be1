// The sound of a message that arrives: two short tones, made here, so that nothing has to be loaded.

const TONES = Object.freeze([660, 880]); // Hz
const LENGTH = 0.12; // seconds of each
const LOUDNESS = 0.08; // of 1
const PAUSE = 1_000; // ms in which there is one sound at most

export class Sound {
  #playedAt = -Infinity;
  /** @type {AudioContext | null} */
  #context = null;

  /** Allow the sound. Browsers demand that this is called in an event of the user's. */
  async enable() {
    this.#context ??= new AudioContext();
    await this.#context.resume();
  }

  /** Play the sound, if it is allowed and was not just played. Return whether it plays. */
  play() {
    const now = performance.now();
    if (now - this.#playedAt < PAUSE) return false;
    this.#context ??= new AudioContext();
    if (this.#context.state === "suspended") {
      this.#context.resume(); // for the next message: a sound that comes late would speak of nothing
      return false;
    }
    this.#playedAt = now;
    TONES.forEach((frequency, number) =>
      playTone(/** @type {AudioContext} */ (this.#context), frequency, number * LENGTH),
    );
    return true;
  }
}

/**
 * @param {AudioContext} context
 * @param {number} frequency in Hz
 * @param {number} delay in seconds
 */
function playTone(context, frequency, delay) {
  const start = context.currentTime + delay;
  const tone = new OscillatorNode(context, { type: "sine", frequency });
  const volume = new GainNode(context, { gain: 0 });
  volume.gain.linearRampToValueAtTime(LOUDNESS, start + LENGTH / 6);
  volume.gain.linearRampToValueAtTime(0, start + LENGTH);
  tone.connect(volume).connect(context.destination);
  tone.start(start);
  tone.stop(start + LENGTH);
}
