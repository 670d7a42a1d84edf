import { DiskTarget } from '../../receiver/disk-target.ts';
import { inspectTarget } from '../../receiver/target-safety.ts';
import { assertDiskHolds } from '../support/disk-comparison.ts';
import { loopDevice, skipUnlessLoop } from '../support/loop-device.ts';
import { targetContract } from './target-contract.ts';

for (const sectorBytes of [512, 4096]) {
  targetContract(`loop device with sectors of ${sectorBytes} bytes`, {
    // No page fits exactly at the end of the one, no round number of blocks in the other.
    sizeBytes: 4 * 1024 * 1024 + 3 * sectorBytes,
    skip: skipUnlessLoop,
    async open(sizeBytes) {
      const device = await loopDevice(sizeBytes, { sectorBytes, directIo: true });
      const { identity } = await inspectTarget(device.path, { isOverwriteAllowed: false, isResuming: false });
      const target = await DiskTarget.open(identity);
      await target.prepare(sizeBytes);
      return {
        target,
        assertHolds: async (expected) => await assertDiskHolds(device.path, expected),
        async [Symbol.asyncDispose]() {
          await target.close();
          await device[Symbol.asyncDispose]();
        },
      };
    },
  });
}
