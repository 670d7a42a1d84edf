/** When what is on a target may be overwritten because a transfer wrote it. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { journalPathOf, openJournal } from '../../receiver/journals.ts';
import { isSurelyResumed } from '../../receiver/take-target.ts';
import { tempDir } from '../support/temp-dir.ts';

test('a serial number alone does not allow overwriting: listed blocks, which are compared, do', async () => {
  await using folder = await tempDir();
  const journal = await openJournal(journalPathOf('/dev/ddt-sdb', folder.path));
  const found = (likeness: 'same' | 'alike'): boolean =>
    isSurelyResumed({ journal, likeness, begunAs: '/dev/ddt-sdb' });
  assert.deepEqual([found('same'), found('alike')], [true, false]);
  journal.recordDurable([{ index: 7, digest: Buffer.alloc(32, 1) }]);
  assert.deepEqual([found('same'), found('alike')], [true, true]);
  journal.close();
});
