/**
 * How the state of a copy travels to the page: frames of a kind, a length and a content, which is JSON, or
 * the bytes of blocks as runs. Pure, also in a browser.
 */

export const FRAME_STATUS = 1;
export const FRAME_BLOCKS = 2;

/** A byte and a number of four bytes. */
const HEAD_BYTES = 5;
/** A frame of the page's own server is at most some megabytes. */
const FRAME_BYTES_MAX = 64 * 1024 * 1024;
const RUN_BITS = 7;
const RUN_MORE = 1 << RUN_BITS;

export interface Frame {
  readonly kind: number;
  readonly content: Uint8Array;
}

export function encodeFrame(kind: number, content: Uint8Array): Uint8Array {
  const frame = new Uint8Array(HEAD_BYTES + content.length);
  frame[0] = kind;
  new DataView(frame.buffer).setUint32(1, content.length, true);
  frame.set(content, HEAD_BYTES);
  return frame;
}

/** Puts frames together from what arrives of them. */
export class FrameReader {
  #rest = new Uint8Array();

  /** @throws RangeError if it is not a frame. */
  push(bytes: Uint8Array): Frame[] {
    let all = bytes;
    if (this.#rest.length > 0) {
      all = new Uint8Array(this.#rest.length + bytes.length);
      all.set(this.#rest);
      all.set(bytes, this.#rest.length);
    }
    const frames: Frame[] = [];
    let at = 0;
    while (all.length - at >= HEAD_BYTES) {
      const length = new DataView(all.buffer, all.byteOffset + at + 1, 4).getUint32(0, true);
      if (length > FRAME_BYTES_MAX) throw new RangeError(`a frame of ${length} bytes`);
      const end = at + HEAD_BYTES + length;
      if (all.length < end) break;
      frames.push({ kind: all[at] ?? 0, content: all.subarray(at + HEAD_BYTES, end) });
      at = end;
    }
    this.#rest = all.slice(at);
    return frames;
  }
}

/** The number of the first block, then each byte with how often it follows, seven bits at a time. */
export function encodeRuns(first: number, codes: Uint8Array): Uint8Array {
  const bytes: number[] = [first & 255, (first >>> 8) & 255, (first >>> 16) & 255, first >>> 24];
  for (let at = 0; at < codes.length;) {
    const code = codes[at] ?? 0;
    let end = at + 1;
    while (end < codes.length && codes[end] === code) end++;
    bytes.push(code);
    let left = end - at;
    for (; left >= RUN_MORE; left >>>= RUN_BITS) bytes.push((left & (RUN_MORE - 1)) | RUN_MORE);
    bytes.push(left);
    at = end;
  }
  return Uint8Array.from(bytes);
}

/** @returns the range that was written. @throws RangeError if it does not fit. */
export function decodeRuns(content: Uint8Array, codes: Uint8Array): { first: number; count: number } {
  const first = new DataView(content.buffer, content.byteOffset, content.length).getUint32(0, true);
  let index = first;
  for (let at = 4; at < content.length;) {
    const code = content[at++] ?? 0;
    let run = 0;
    let shift = 0;
    let byte: number;
    do {
      byte = content[at++] ?? 0;
      run += (byte & (RUN_MORE - 1)) * 2 ** shift;
      shift += RUN_BITS;
    } while (byte >= RUN_MORE);
    if (run === 0 || index + run > codes.length) throw new RangeError(`blocks ${index} and ${run} more`);
    codes.fill(code, index, index + run);
    index += run;
  }
  return { first, count: index - first };
}
