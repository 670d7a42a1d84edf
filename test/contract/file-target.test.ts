import { join } from 'node:path';
import { assertDiskHolds } from '../support/disk-comparison.ts';
import { openFileTarget } from '../support/disk-targets.ts';
import { tempDir } from '../support/temp-dir.ts';
import { skipUnlessTmpfs, tmpfs } from '../support/tmpfs.ts';
import { targetContract, type ContractSubject } from './target-contract.ts';

const ODD_BYTES = 4 * 1024 * 1024 + 1001;

async function openFile(
  path: string,
  sizeBytes: number,
): Promise<Omit<ContractSubject, keyof AsyncDisposable>> {
  const target = await openFileTarget(path);
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
  skip: skipUnlessTmpfs,
  async open(sizeBytes) {
    const folder = await tmpfs('32m');
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
