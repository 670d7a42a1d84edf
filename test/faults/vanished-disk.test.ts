/** A source that is unplugged while it is read. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { SMALL_BLOCKS, randomSource } from '../support/copied.ts';
import { startReceiver } from '../support/processes.ts';
import { run } from '../support/run.ts';
import { skipUnlessStrace, strace } from '../support/strace.ts';
import { tempDir } from '../support/temp-dir.ts';

const SENDER = join(import.meta.dirname, '../../sender/main.ts');

test(
  'a disk that is gone ends the copy at once, even if bad sectors would become zeros',
  { skip: skipUnlessStrace },
  async () => {
    await using folder = await tempDir();
    const source = await randomSource(folder.path, 4);
    const target = join(folder.path, 'target');
    await using receiver = await startReceiver({ target, folder: folder.path });
    const inject = 'pread64:error=ENXIO:when=2+';
    const { under = [], env } = strace({
      log: join(folder.path, 'log'),
      trace: 'pread64',
      paths: [source],
      inject,
    });
    const options = ['--on-read-error', 'zero', '--connections', '1', '--mapfile', join(folder.path, 'map')];
    const command = [SENDER, ...SMALL_BLOCKS, ...options, '--ticket-file', receiver.ticketFile, source];
    const [program = '', ...args] = [...under, process.execPath, ...command];
    const sending = await run(program, args, { env: { ...process.env, ...env } });
    assert.equal(sending.status, 5, sending.stderr);
    const lines = sending.stderr.split('\n').slice(-3);
    assert.match(lines[0] ?? '', /^ddt-send: error: cannot read \S+ at offset \d+: the device is gone$/);
    assert.match(lines[1] ?? '', /^ddt-send: hint: check its cable and its name \(lsblk\), then run /);
    assert.deepEqual((await receiver.status()).unreadable, []);
  },
);
