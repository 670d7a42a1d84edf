import assert from 'node:assert/strict';
import { test } from 'node:test';
import { orderCiphers } from '../../../common/trust/ciphers.ts';

test('AES goes first on processors with instructions for it, on others ChaCha20', () => {
  const first = (cpuInfo: string): string | undefined => orderCiphers(cpuInfo).split(':')[0];
  assert.equal(first('processor\t: 0\nflags\t\t: fpu sse4_2 aes avx\n'), 'TLS_AES_128_GCM_SHA256');
  assert.equal(first('Features\t: fp asimd aes pmull sha1\n'), 'TLS_AES_128_GCM_SHA256');
  assert.equal(first('Features\t: fp asimd evtstrm crc32\n'), 'TLS_CHACHA20_POLY1305_SHA256');
  assert.equal(first('model name\t: aes\nflags\t: vaes\n'), 'TLS_CHACHA20_POLY1305_SHA256');
  assert.equal(first(''), 'TLS_CHACHA20_POLY1305_SHA256');
  assert.equal(new Set(orderCiphers('').split(':')).size, 3);
});
