/**
 * Real disks and files as targets, without looking for who uses them: where tests run at the same time, a
 * losetup of another one may have the device open for a moment, and would be found.
 */
import { existsSync } from 'node:fs';
import { openDisk } from '../../common/disk/open-disk.ts';
import { DeviceTarget } from '../../receiver/target/device-target.ts';
import { FileTarget, filePlaceOf, newFilePlaceAt } from '../../receiver/target/file-target.ts';

export async function openDeviceTarget(path: string): Promise<DeviceTarget> {
  await using disk = await openDisk(path, 'target-refused');
  return await DeviceTarget.open(disk);
}

/** Creates it if it is absent. */
export async function openFileTarget(path: string): Promise<FileTarget> {
  await using stack = new AsyncDisposableStack();
  const disk = existsSync(path) ? stack.use(await openDisk(path, 'target-refused')) : undefined;
  const place = disk === undefined ? await newFilePlaceAt(path) : await filePlaceOf(disk);
  return await FileTarget.open(stack.use(place));
}
