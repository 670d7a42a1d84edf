/** Lines of allowed_signers files: what we say of them, beside what `ssh-keygen -Y verify` says. */
import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { isValidAt, parseAllowedSigners } from '../../../common/trust/allowed-signers.ts';
import { armorSshsig, makeSigningKey, publicKeyLine, signSsh } from '../../../common/trust/ssh-signature.ts';
import { TOKEN_NAMESPACE } from '../../../common/trust/token.ts';
import { unlessInstalled } from '../../support/requires.ts';
import { run } from '../../support/run.ts';
import { tempDir } from '../../support/temp-dir.ts';

const KEY = makeSigningKey(Buffer.alloc(32, 7));
const KEY_LINE = publicKeyLine(KEY.publicKey, '');
const [, BASE64 = ''] = KEY_LINE.split(' ');
const OTHER_LINE = publicKeyLine(makeSigningKey(Buffer.alloc(32, 8)).publicKey, '');
const MESSAGE = Buffer.from('a payload');
/** The time of the verdicts, UTC. */
const NOW = '20261129120000Z';
const NOW_SECONDS = Date.UTC(2026, 10, 29, 12, 0, 0) / 1000;
const skip = unlessInstalled('ssh-keygen');

/** `good`, `no` if the key is not accepted now, or what is wrong with the file. */
function judge(text: string): string {
  try {
    const { signers } = parseAllowedSigners(text, TOKEN_NAMESPACE, (line, reason) => {
      throw new Error(`${line}: ${reason}`);
    });
    const isGood = signers.some(
      (signer) => signer.publicKey.equals(KEY.publicKey) && isValidAt(signer, NOW_SECONDS),
    );
    return isGood ? 'good' : 'no';
  } catch (error) {
    return (error as Error).message;
  }
}

/** Content of a file, and what we say. ssh-keygen accepts the signature exactly where we say `good`. */
const TABLE: readonly (readonly [string, string])[] = [
  [`alice ${KEY_LINE}`, 'good'],
  [`alice ${KEY_LINE} a comment "with" , anything`, 'good'],
  [`  alice\t${KEY_LINE}\r`, 'good'],
  [`"alice" ${KEY_LINE}`, 'good'],
  [`bob,alice,!carol ${KEY_LINE}`, 'good'],
  [`# alice\n\n  # more\nalice ${KEY_LINE}\n`, 'good'],
  [`alice ${OTHER_LINE}\nalice ${KEY_LINE}`, 'good'],
  [`alice ${OTHER_LINE}`, 'no'],
  ['', 'no'],
  [`#alice ${KEY_LINE}`, 'no'],
  // Namespaces are patterns.
  [`alice namespaces="${TOKEN_NAMESPACE}" ${KEY_LINE}`, 'good'],
  [`alice NAMESPACES="${TOKEN_NAMESPACE}" ${KEY_LINE}`, 'good'],
  [`alice namespaces="git,${TOKEN_NAMESPACE}" ${KEY_LINE}`, 'good'],
  [`alice namespaces="*@dd-transfer" ${KEY_LINE}`, 'good'],
  [`alice namespaces="ddt-token-v?@*" ${KEY_LINE}`, 'good'],
  [`alice namespaces="*,!git" ${KEY_LINE}`, 'good'],
  [`alice namespaces="*,!ddt-*" ${KEY_LINE}`, 'no'],
  [`alice namespaces="!git" ${KEY_LINE}`, 'no'],
  [`alice namespaces="git" ${KEY_LINE}`, 'no'],
  [`alice namespaces="DDT-token-v1@dd-transfer" ${KEY_LINE}`, 'no'],
  [`alice namespaces="ddt-token-v1@dd.transfer" ${KEY_LINE}`, 'no'],
  [`alice namespaces="ddt-token-v1@dd-transfe" ${KEY_LINE}`, 'no'],
  [`alice namespaces="" ${KEY_LINE}`, 'no'],
  // Both ends of a time are included.
  [`alice valid-after="20261129120000Z" ${KEY_LINE}`, 'good'],
  [`alice valid-after="20261129120001Z" ${KEY_LINE}`, 'no'],
  [`alice valid-before="20261129120000Z" ${KEY_LINE}`, 'good'],
  [`alice valid-before="20261129115959z" ${KEY_LINE}`, 'no'],
  [`alice valid-after="20261129Z",valid-before="20261130Z" ${KEY_LINE}`, 'good'],
  [`alice valid-after="202611291201Z",namespaces="*" ${KEY_LINE}`, 'no'],
  // Local time: 17:00 in a zone that is 5 hours ahead of UTC.
  [`alice valid-before="202611291700" ${KEY_LINE}`, 'good'],
  [`alice valid-before="202611291659" ${KEY_LINE}`, 'no'],
  [`alice valid-after="202611291701" ${KEY_LINE}`, 'no'],
  // What is refused. ssh-keygen refuses it as well, or does not look at it.
  [
    `alice valid-after="202611" ${KEY_LINE}`,
    '1: its valid-after is not a time: YYYYMMDD[Z] or YYYYMMDDHHMM[SS][Z]',
  ],
  [
    `alice valid-before="2026-11-30" ${KEY_LINE}`,
    '1: its valid-before is not a time: YYYYMMDD[Z] or YYYYMMDDHHMM[SS][Z]',
  ],
  [
    `alice valid-before="20271330Z" ${KEY_LINE}`,
    '1: its valid-before is not a time: YYYYMMDD[Z] or YYYYMMDDHHMM[SS][Z]',
  ],
  [
    `alice valid-after="20261201Z",valid-before="20261101Z" ${KEY_LINE}`,
    '1: its valid-before is not after its valid-after',
  ],
  [`alice cert-authority ${KEY_LINE}`, '1: certificates are not supported: name the keys themselves'],
  [
    `alice Cert-Authority,namespaces="*" ${KEY_LINE}`,
    '1: certificates are not supported: name the keys themselves',
  ],
  [`alice touch-required ${KEY_LINE}`, '1: the option touch-required is not known'],
  [`alice from="10.0.0.1" ${KEY_LINE}`, '1: the option from is not known'],
  [`alice namespaces=* ${KEY_LINE}`, '1: its options are not well-formed'],
  [`alice namespaces ${KEY_LINE}`, '1: the option namespaces has no value in double quotes'],
  [`alice namespaces="*",namespaces="*" ${KEY_LINE}`, '1: the option namespaces is there twice'],
  [`alice namespaces="*", ${KEY_LINE}`, '1: its options are not well-formed'],
  [`alice namespaces="* ${KEY_LINE}`, '1: it has no key'],
  [`\n\nalice`, '3: it has no key after the principals'],
  [`alice ${BASE64}`, '1: it has no key'],
  [KEY_LINE, `1: it has no key`],
  [`alice ssh-ed25519`, '1: its key is damaged'],
  [`alice ssh-rsa ${BASE64}`, '1: its key is damaged'],
  [`alice ssh-ed25519 ${BASE64.slice(0, -4)}`, '1: its key is damaged'],
  [`alice ssh-dss AAAAB3NzaC1kc3M=`, '1: keys of type ssh-dss are not supported'],
];

test('our verdict on each line is that of ssh-keygen', { skip }, async () => {
  await using folder = await tempDir();
  const [allowed, signature] = [join(folder.path, 'allowed'), join(folder.path, 'signature')];
  await writeFile(signature, armorSshsig(signSsh(KEY, TOKEN_NAMESPACE, MESSAGE)));
  const zone = process.env['TZ'];
  process.env['TZ'] = 'UTC-5';
  try {
    for (const [text, expected] of TABLE) {
      assert.equal(judge(text), expected, text);
      await writeFile(allowed, text);
      const place = ['-f', allowed, '-I', 'alice', '-s', signature, '-n', TOKEN_NAMESPACE];
      const args = ['-Y', 'verify', ...place, '-O', `verify-time=${NOW}`];
      const { status, stdout, stderr } = await run('ssh-keygen', args, { input: MESSAGE });
      assert.equal(status === 0, expected === 'good', `${text}\n${stdout}${stderr}`);
    }
  } finally {
    if (zone === undefined) delete process.env['TZ'];
    else process.env['TZ'] = zone;
  }
});

/** ssh-keygen accepts these lines, and we do not, because they hardly mean what they say. */
test('a line that ssh-keygen takes in another sense is refused', () => {
  const time = 'is not a time: YYYYMMDD[Z] or YYYYMMDDHHMM[SS][Z]';
  assert.equal(judge(`alice valid-after="20260231Z" ${KEY_LINE}`), `1: its valid-after ${time}`);
  assert.equal(judge(`alice valid-after="19691231Z" ${KEY_LINE}`), `1: its valid-after ${time}`);
});

test('lines for other namespaces are counted, and every good line keeps its principals', () => {
  const text = `alice,bob ${KEY_LINE}\n"carol w" namespaces="git" ${KEY_LINE}\ndave ${OTHER_LINE}\n`;
  const { signers, otherLines } = parseAllowedSigners(text, TOKEN_NAMESPACE, () => assert.fail());
  assert.deepEqual(
    signers.map(({ principals }) => principals),
    ['alice,bob', 'dave'],
  );
  assert.equal(otherLines, 1);
});
