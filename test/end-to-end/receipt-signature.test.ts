/** A receipt that the receiver of the ticket has not signed proves nothing, whoever asks for it. */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { RECEIPT_NAMESPACE } from '../../common/trust/receipt-signer.ts';
import {
  armorSshsig,
  fingerprintOf,
  makeSigningKey,
  publicKeyLine,
  signSsh,
} from '../../common/trust/ssh-signature.ts';
import { prng } from '../support/prng.ts';
import { KIB, MIB, runReceiver, runSender, sendAll, startReceiver } from '../support/processes.ts';
import { startReceiverApp, type Lie } from '../support/receiver-app.ts';
import { tempDir } from '../support/temp-dir.ts';

interface Sealed {
  readonly text: string;
  readonly signature: string;
}

/** Changes the receipt in the response to `/complete` while `isLying`. */
function forging(forge: (sealed: Sealed) => Sealed, when: { isLying: boolean }): Lie {
  const answer = async (truth: () => Promise<Response>): Promise<Response> => {
    const response = await truth();
    if (response.status !== 200) return response;
    const sealed = (await response.json()) as Sealed;
    return Response.json({ ...sealed, ...forge(sealed) });
  };
  return ({ path }, truth) => (path === '/complete' && when.isLying ? answer(truth) : undefined);
}

const other = makeSigningKey();

const FORGERIES: readonly (readonly [string, (sealed: Sealed) => Sealed, RegExp])[] = [
  [
    'no signature at all',
    ({ text }) => ({ text, signature: 'this is not a signature \u001b[31m' }),
    /^ddt-send: error: the receipt does not prove anything: its signature is not valid$/m,
  ],
  [
    'the signature of another receipt',
    ({ text, signature }) => ({ text: text.replace('"generation": 1', '"generation": 2'), signature }),
    /^ddt-send: error: the receipt does not prove anything: its signature is not valid$/m,
  ],
  [
    'another key, which the receipt names',
    ({ text }) => {
      const line = publicKeyLine(other.publicKey, 'ddt-receive');
      const forged = text.replace(/"receiverKey": ".*"/, `"receiverKey": "${line}"`);
      return {
        text: forged,
        signature: armorSshsig(signSsh(other, RECEIPT_NAMESPACE, Buffer.from(forged))),
      };
    },
    /^ddt-send: error: the receipt does not prove anything: it is signed by SHA256:\S+, and the ticket by /m,
  ],
];

for (const [name, forge, message] of FORGERIES) {
  test(`a receipt with ${name} is refused: after the seal, on a sealed copy, and by --check`, async () => {
    await using folder = await tempDir();
    const source = join(folder.path, 'source');
    await writeFile(source, prng(5).bytes(MIB));
    const when = { isLying: true };
    await using app = await startReceiverApp({
      blockCount: null,
      isReadBack: true,
      lie: forging(forge, when),
    });
    const receipt = join(folder.path, 'receipt.json');
    const always = ['--block-size', '64KiB', '--digest', 'sha-256'];
    for (const more of [['--receipt', receipt], [], ['--check']]) {
      const refused = await runSender([...always, ...more, source, app.ticket]);
      assert.deepEqual([refused.status, refused.stdout], [4, ''], `${more.join()} ${refused.stderr}`);
      assert.match(refused.stderr, message);
      assert(!refused.stderr.includes('\u001b'));
    }
    assert(!existsSync(receipt), 'no receipt is kept');
    when.isLying = false;
    for (const more of [[], ['--check']]) {
      const { status, stderr } = await runSender([...always, ...more, source, app.ticket]);
      assert.equal(status, 0, stderr);
    }
  });
}

test('a sealed copy whose receiver has a new key is proven with that key', async () => {
  await using folder = await tempDir();
  const [source, target] = [join(folder.path, 'source'), join(folder.path, 'target')];
  await writeFile(source, prng(6).bytes(512 * KIB));
  await using receiver = await startReceiver({ folder: folder.path, target });
  const send = ['--block-size', '64KiB', '--ticket-file', receiver.ticketFile, source];
  await sendAll(...send);
  await receiver.end('SIGTERM');
  await rm(join(receiver.stateDir, 'signing-key'));
  await receiver.start();
  const receipt = join(folder.path, 'receipt.json');
  await sendAll('--receipt', receipt, ...send);
  const check = ['--check-receipt', receipt];
  const { status, stdout } = await runReceiver([...check, target]);
  assert.equal(status, 0);
  const [fingerprint = ''] = /SHA256:\S{43}/.exec(stdout) ?? [];
  const { receiverKey } = JSON.parse(await readFile(receipt, 'utf8')) as { receiverKey: string };
  for (const signer of [fingerprint, receiverKey]) {
    assert.equal((await runReceiver([...check, '--signer', signer, target])).status, 0);
  }
  const wrong = await runReceiver([...check, '--signer', fingerprintOf(other.publicKey), target]);
  assert.deepEqual([wrong.status, wrong.stdout], [2, '']);
  assert.match(wrong.stderr, /error: cannot use the receipt .*: it was signed by another key: SHA256:/);
  const bad = await runReceiver([...check, '--signer', 'SHA256:short', target]);
  assert.match(bad.stderr, /error: --signer is neither SHA256:<fingerprint> nor ssh-ed25519 <key>/);
});
