import { join } from 'node:path';
import { FileTarget } from '../../receiver/target/file-target.ts';
import { assertDiskHolds } from '../support/disk-comparison.ts';
import { diskIdentity } from '../support/disk-identity.ts';
import { tempDir } from '../support/temp-dir.ts';
import { skipUnlessTmpfs, tmpfs } from '../support/tmpfs.ts';
import { targetContract, type ContractSubject } from './target-contract.ts';

const ODD_BYTES = 4 * 1024 * 1024 + 1001;

async function openFile(
  path: string,
  sizeBytes: number,
): Promise<Omit<ContractSubject, keyof AsyncDisposable>> {
  const target = await FileTarget.open(diskIdentity('file', path));
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
