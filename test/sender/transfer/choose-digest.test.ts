import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BLAKE3, SHA256, type DigestAlgorithm } from '../../../common/digest/digest.ts';
import {
  chooseDigest,
  parseDigestChoice,
  type DigestChoice,
} from '../../../sender/transfer/choose-digest.ts';

assert.ok(BLAKE3 !== undefined, 'npm ci brings BLAKE3');
const HERE = { both: [SHA256, BLAKE3], alone: [SHA256] } as const;
const THERE = {
  both: ['sha-256', 'blake3'],
  alone: ['sha-256'],
  more: ['sha-256', 'blake4', 'blake3'],
} as const;

function chosen(
  choice: DigestChoice,
  here: keyof typeof HERE,
  there: keyof typeof THERE,
  digest: DigestAlgorithm | null = null,
): string {
  return chooseDigest(choice, HERE[here], { digest, digests: THERE[there] }).algorithm;
}

test('a new transfer uses BLAKE3 if both ends have it, otherwise SHA-256', () => {
  assert.equal(chosen('auto', 'both', 'both'), 'blake3');
  assert.equal(chosen('auto', 'both', 'more'), 'blake3');
  assert.equal(chosen('auto', 'both', 'alone'), 'sha-256');
  assert.equal(chosen('auto', 'alone', 'both'), 'sha-256');
  assert.equal(chosen('auto', 'alone', 'alone'), 'sha-256');
  assert.equal(chosen('sha-256', 'both', 'both'), 'sha-256');
  assert.equal(chosen('blake3', 'both', 'both'), 'blake3');
});

test('a claimed transfer keeps its algorithm', () => {
  assert.equal(chosen('auto', 'both', 'both', 'sha-256'), 'sha-256');
  assert.equal(chosen('auto', 'both', 'both', 'blake3'), 'blake3');
  assert.equal(chosen('auto', 'alone', 'both', 'sha-256'), 'sha-256');
  // Whether it fits the claim is checked by claimDifference.
  assert.equal(chosen('sha-256', 'both', 'both', 'blake3'), 'sha-256');
});

test('an algorithm that one end lacks is refused with a hint', () => {
  const code = 'digest-unsupported';
  assert.throws(() => chosen('blake3', 'alone', 'both'), {
    code,
    message: 'blake3 digests cannot be computed here',
    hint: /^npm ci in the folder of dd-transfer .*; or leave --digest out /,
  });
  assert.throws(() => chosen('blake3', 'both', 'alone'), {
    code,
    message: 'the receiver cannot compute blake3 digests',
    hint: /^run npm ci where ddt-receive is installed, or leave --digest out /,
  });
  assert.throws(() => chosen('auto', 'alone', 'both', 'blake3'), {
    code,
    message: 'this transfer uses blake3 digests, which cannot be computed here',
    hint: /^npm ci in the folder of dd-transfer .*--discard-transfer/,
  });
});

test('a choice is one of three', () => {
  for (const choice of ['auto', 'sha-256', 'blake3']) assert.equal(parseDigestChoice(choice), choice);
  for (const text of ['', 'sha256', 'BLAKE3', 'md5', 'toString']) {
    assert.throws(() => parseDigestChoice(text), { code: 'usage' }, text);
  }
});
