/** A copy is compared with its receipt later, and progress is not discarded by accident. */
import assert from 'node:assert/strict';
import { open, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { glob } from 'node:fs/promises';
import { freshSeed, prng } from '../support/prng.ts';
import { MIB, runReceiver, runSender, sendAll, startReceiver } from '../support/processes.ts';
import { tempDir } from '../support/temp-dir.ts';

const BLOCKS = ['--block-size', '64KiB'];

test('--check-receipt compares a disk with the receipt that was kept beside the journal', async () => {
  await using folder = await tempDir();
  const [source, target] = [join(folder.path, 'source'), join(folder.path, 'target')];
  await writeFile(source, prng(freshSeed()).bytes(2 * MIB + 1000));
  await using receiver = await startReceiver({ folder: folder.path, target });
  await sendAll(...BLOCKS, '--ticket-file', receiver.ticketFile, source);
  await receiver.end('SIGTERM');
  const [receipt] = await Array.fromAsync(glob(join(receiver.stateDir, '*/receipt-1.json')));
  assert(receipt !== undefined);
  const equal = await runReceiver(['--check-receipt', receipt, target]);
  assert.equal(equal.status, 0, equal.stderr);
  assert.match(equal.stdout, /^receipt {2}.*generation 1$/m);
  assert.match(
    equal.stdout,
    /^equal {4}all 33 blocks, 2\.0? ?MiB|all 33 blocks, [\d.]+ MiB, of .*target are what the receipt says$/m,
  );
  {
    await using file = await open(target, 'r+');
    for (const index of [3, 4, 32]) await file.write(Buffer.from('x'), 0, 1, index * 65_536 + 77);
  }
  const differs = await runReceiver(['--check-receipt', receipt, target]);
  assert.equal(differs.status, 3, differs.stderr);
  assert.match(differs.stdout, /^differs {2}3 of 33 blocks of .*target: blocks 3-4, 32$/m);
  const other = await runReceiver(['--check-receipt', receipt, dirname(target)]);
  assert.equal(other.status, 4);
  const none = await runReceiver(['--check-receipt', source, target]);
  assert.deepEqual(
    [none.status, /cannot read .*source\.(sig|digests): no such file/.test(none.stderr)],
    [2, true],
  );
});

test('--discard-transfer asks for --yes where progress would be lost, and says how to resume', async () => {
  await using folder = await tempDir();
  const [source, target] = [join(folder.path, 'source'), join(folder.path, 'target')];
  await writeFile(source, prng(freshSeed()).bytes(2 * MIB));
  await using receiver = await startReceiver({ folder: folder.path, target });
  await sendAll(...BLOCKS, '--ticket-file', receiver.ticketFile, source);
  await receiver.end('SIGTERM');
  const discard = ['--state-dir', receiver.stateDir, '--discard-transfer', '--overwrite-target', target];
  const refused = await runReceiver(discard);
  assert.equal(refused.status, 4, refused.stderr);
  assert.match(refused.stderr, /error: --discard-transfer would lose the receipt of the complete copy on /);
  assert.match(refused.stderr, /hint: to keep it, leave --discard-transfer out; .* add --yes\n/);
  // Nothing was lost.
  await receiver.start();
  assert.equal((await receiver.status()).state, 'sealed');
  await receiver.end('SIGTERM');
  await receiver.start({ options: ['--discard-transfer', '--overwrite-target', '--yes'] });
  const { status } = await runSender(['--dry-run', '--ticket-file', receiver.ticketFile, source]);
  assert.equal(status, 3);
  const { stderr } = await receiver.end('SIGTERM');
  assert.match(stderr, /run the same command again without --discard-transfer to resume/);
});
