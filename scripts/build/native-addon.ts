/**
 * In the one file this stands for @napi-rs/blake-hash: its native part, which lies in the file. The C library
 * loads only files, so it gets one that is only in memory: /tmp may be read-only, or allow no code.
 */
import { closeSync, writeSync } from 'node:fs';
import { dlopen } from 'node:ffi';
import { getRawAsset } from 'node:sea';

interface BlakeHash {
  readonly blake3: (bytes: Buffer) => Uint8Array;
}

/** Of the asset, too (bundle.ts). */
const NAME = 'blake-hash.node';
/** memfd_create(2). */
const MFD_CLOEXEC = 1;

const { functions } = dlopen(null, {
  memfd_create: { arguments: ['string', 'u32'], return: 'i32' },
});
const descriptor = functions.memfd_create(NAME, MFD_CLOEXEC);
const loaded = { exports: {} };
try {
  const code = Buffer.from(getRawAsset(NAME));
  for (let offset = 0; offset < code.length;) offset += writeSync(descriptor, code, offset);
  process.dlopen(loaded, `/proc/self/fd/${descriptor}`);
} finally {
  closeSync(descriptor);
}

export const { blake3 } = loaded.exports as BlakeHash;
