import { join } from 'node:path';
import { DiskTarget } from '../../receiver/disk-target.ts';
import { inspectTarget } from '../../receiver/target-safety.ts';
import { assertDiskHolds } from '../support/disk-comparison.ts';
import { runOk } from '../support/run.ts';
import { tempDir } from '../support/temp-dir.ts';
import { targetContract, type ContractSubject } from './target-contract.ts';

const ODD_BYTES = 4 * 1024 * 1024 + 1001;

async function openFile(
  path: string,
  sizeBytes: number,
): Promise<Omit<ContractSubject, keyof AsyncDisposable>> {
  const { identity } = await inspectTarget(path, { isOverwriteAllowed: false, isResuming: false });
  const target = await DiskTarget.open(identity);
  await target.prepare(sizeBytes);
  return { target, assertHolds: async (expected) => await assertDiskHolds(path, expected) };
}

targetContract('file', {
  sizeBytes: ODD_BYTES,
  async open(sizeBytes) {
    const folder = await tempDir();
    const subject = await openFile(join(folder.path, 'disk.img'), sizeBytes);
    return {
      ...subject,
      async [Symbol.asyncDispose]() {
        await subject.target.close();
        await folder[Symbol.asyncDispose]();
      },
    };
  },
});

targetContract('file on tmpfs', {
  sizeBytes: ODD_BYTES,
  skip: process.getuid?.() === 0 ? false : 'mounting a tmpfs needs root',
  async open(sizeBytes) {
    const folder = await tempDir();
    await runOk('mount', ['-t', 'tmpfs', '-o', 'size=32m', 'tmpfs', folder.path]);
    const subject = await openFile(join(folder.path, 'disk.img'), sizeBytes);
    return {
      ...subject,
      async [Symbol.asyncDispose]() {
        await subject.target.close();
        await runOk('umount', [folder.path]);
        await folder[Symbol.asyncDispose]();
      },
    };
  },
});
