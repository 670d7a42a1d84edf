import { assertDiskHolds } from '../support/disk-comparison.ts';
import { openDeviceTarget } from '../support/disk-targets.ts';
import { loopDevice, skipUnlessLoop } from '../support/loop-device.ts';
import { targetContract } from './target-contract.ts';

for (const sectorBytes of [512, 4096]) {
  targetContract(`loop device with sectors of ${sectorBytes} bytes`, {
    // Not a multiple of the page size with 512, nor of a block with 4096.
    sizeBytes: 4 * 1024 * 1024 + 3 * sectorBytes,
    skip: skipUnlessLoop,
    async open(sizeBytes) {
      await using building = new AsyncDisposableStack();
      const device = building.use(await loopDevice(sizeBytes, { sectorBytes, directIo: true }));
      const target = await openDeviceTarget(device.path);
      building.defer(async () => await target.close());
      await target.prepare(sizeBytes);
      const parts = building.move();
      return {
        target,
        assertHolds: async (expected) => await assertDiskHolds(device.path, expected),
        [Symbol.asyncDispose]: async () => await parts.disposeAsync(),
      };
    },
  });
}
