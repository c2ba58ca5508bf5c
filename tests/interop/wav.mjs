// The audio of a 16-bit mono 16 kHz WAV file, in the pieces that the services ask for.

import { readFileSync } from "node:fs";

export const RATE_HZ = 16_000;
const FRAME_BYTES = 2;

/** @returns {Buffer} the samples without the header. */
export function readSamples(path) {
  const file = readFileSync(path);
  const at = file.indexOf("data");
  return file.subarray(at + 8, at + 8 + file.readUInt32LE(at + 4));
}

/** Pieces of equal length; the last is filled up with silence. */
export function cut(samples, seconds) {
  const size = RATE_HZ * seconds * FRAME_BYTES;
  const pieces = [];
  for (let at = 0; at < samples.length; at += size) {
    const piece = Buffer.alloc(size);
    samples.copy(piece, 0, at, at + size);
    pieces.push(piece);
  }
  return pieces;
}

/** A whole WAV file around the samples. */
export function wavFile(samples) {
  const header = Buffer.alloc(44);
  header.write("RIFF", 0, "latin1");
  header.writeUInt32LE(36 + samples.length, 4);
  header.write("WAVEfmt ", 8, "latin1");
  header.writeUInt32LE(16, 16);
  header.writeUInt16LE(1, 20); // PCM
  header.writeUInt16LE(1, 22); // mono
  header.writeUInt32LE(RATE_HZ, 24);
  header.writeUInt32LE(RATE_HZ * FRAME_BYTES, 28);
  header.writeUInt16LE(FRAME_BYTES, 32);
  header.writeUInt16LE(8 * FRAME_BYTES, 34);
  header.write("data", 36, "latin1");
  header.writeUInt32LE(samples.length, 40);
  return Buffer.concat([header, samples]);
}

/** Root mean square, 0 to 1. */
export function volume(samples) {
  let sum = 0;
  for (let at = 0; at < samples.length; at += FRAME_BYTES) sum += (samples.readInt16LE(at) / 32_768) ** 2;
  return Math.sqrt((sum * FRAME_BYTES) / samples.length);
}
