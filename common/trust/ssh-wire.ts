/** The data types of ssh's protocol (RFC 4251 section 5) that keys and signatures are made of. */

/** `string`: a 32-bit length, then the bytes. */
export function encodeString(value: string | Uint8Array): Buffer {
  const bytes = Buffer.from(value);
  const length = Buffer.alloc(4);
  length.writeUInt32BE(bytes.length);
  return Buffer.concat([length, bytes]);
}

/** The strings that fill `bytes` exactly, as views of it; else undefined. */
export function splitStrings(bytes: Buffer): Buffer[] | undefined {
  const strings: Buffer[] = [];
  let at = 0;
  while (at < bytes.length) {
    if (bytes.length - at < 4) return undefined;
    const end = at + 4 + bytes.readUInt32BE(at);
    if (end > bytes.length) return undefined;
    strings.push(bytes.subarray(at + 4, end));
    at = end;
  }
  return strings;
}

/**
 * `mpint`, of a number above zero.
 * @returns its bytes without a leading zero; undefined if it is negative, zero, or not the shortest spelling.
 */
export function magnitudeOf(mpint: Buffer | undefined): Buffer | undefined {
  const [first, second = 0] = mpint ?? [];
  if (mpint === undefined || first === undefined || first >= 0x80) return undefined;
  if (first !== 0) return mpint;
  return second >= 0x80 ? mpint.subarray(1) : undefined;
}
