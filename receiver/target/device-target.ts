/** A block device as the target. */
import { shellWord } from '../../common/text.ts';
import { constants } from 'node:fs';
import { open, type FileHandle } from 'node:fs/promises';
import { hintOfPermission } from '../../common/disk/block-devices.ts';
import { contentOf } from '../../common/disk/disk-content.ts';
import type { DiskDescription } from '../../common/disk/disks.ts';
import { placesOf } from '../../common/disk/disk-places.ts';
import { changeOf, leadsTo, type OpenDisk } from '../../common/disk/open-disk.ts';
import { openDirect } from '../../common/io/direct-io.ts';
import { reopenPathOf } from '../../common/system-tools.ts';
import { TransferError, reasonOf } from '../../common/errors.ts';
import { formatSize } from '../../common/units.ts';
import { DiskTarget, type DiskHandles } from './disk-target.ts';
import { DiskTools } from './disk-tools.ts';
import type { FoundTarget } from './found-target.ts';
import type { TargetIdentity } from './target.ts';
import { OwnMarks, openDeviceMarks } from './write-marks.ts';
import {
  LIST_DISKS,
  changedTarget,
  holdsData,
  identityOf,
  nameOf,
  refusal,
  refuseUnwritable,
  refuseUsed,
} from './target-safety.ts';

/** @param opened closed with what is found. @throws TransferError `target-refused`. */
export async function findDevice(opened: OpenDisk): Promise<FoundTarget> {
  const disk = opened.description;
  if (disk.sizeBytes === 0)
    throw refusal(`cannot write to ${nameOf(disk)}: there is no medium in it`, LIST_DISKS);
  await refuseUsed(opened, `${LIST_DISKS} ${shellWord(disk.path)}`);
  if (disk.isReadOnly) {
    const hint = `blockdev --setrw ${shellWord(disk.path)}`;
    throw refusal(`cannot write to ${nameOf(disk)}: the device is read-only`, hint);
  }
  await refuseUnwritable(opened, hintOfPermission()?.hint);
  return {
    identity: deviceIdentityOf(disk),
    name: nameOf(disk),
    content: await presentContentOf(opened),
    isAbsent: false,
    isAt: async (path) => await leadsTo(path, opened.handle),
    open: async () => ({ target: await DeviceTarget.open(opened), places: await placesOf(disk) }),
    [Symbol.asyncDispose]: async () => await opened[Symbol.asyncDispose](),
  };
}

export function deviceIdentityOf(disk: DiskDescription): TargetIdentity {
  return { ...identityOf(disk), sizeBytes: disk.sizeBytes };
}

/** What the signatures say; without one, whether it holds anything but zeros. */
async function presentContentOf(disk: OpenDisk): Promise<string[]> {
  const signatures = await contentOf(disk);
  return signatures.length > 0 || !(await holdsData(disk)) ? signatures : ['data of an unknown kind'];
}

export class DeviceTarget extends DiskTarget {
  readonly isSizeFixed = true;
  readonly sectorBytes: number;
  readonly #sizeBytes: number;

  /** @param handles of the device that the identity describes. */
  constructor(identity: TargetIdentity, handles: DiskHandles) {
    super(identity, handles);
    this.sectorBytes = identity.logicalSectorBytes;
    this.#sizeBytes = identity.sizeBytes ?? 0;
  }

  /**
   * Opens it again with O_EXCL: EBUSY while it is mounted or claimed by another program, and nobody can claim
   * it afterwards. @throws TransferError `target-refused`.
   */
  static async open({ description, handle }: OpenDisk): Promise<DeviceTarget> {
    const { path } = description;
    let buffered: FileHandle | undefined;
    try {
      buffered = await open(reopenPathOf(handle), constants.O_RDWR | constants.O_EXCL);
      const change = await changeOf(description, buffered);
      if (change !== undefined) throw changedTarget(path, change);
      const direct = await openDirect(buffered, 'read-write');
      const marks = (await openDeviceMarks(buffered)) ?? new OwnMarks();
      if (direct === undefined) marks.loseCount();
      const handles = { buffered, direct, marks, tools: new DiskTools(buffered) };
      return new DeviceTarget(deviceIdentityOf(description), handles);
    } catch (error) {
      await buffered?.close();
      if (error instanceof TransferError) throw error;
      const message = `cannot open ${path} for writing: ${reasonOf(error)}`;
      throw new TransferError('target-refused', message, { cause: error });
    }
  }

  async prepare(sizeBytes: number): Promise<void> {
    if (this.#sizeBytes >= sizeBytes) return await Promise.resolve();
    throw new TransferError(
      'target-too-small',
      `${this.identity.path} is too small: it has ${this.#sizeBytes} bytes, ` +
        `the source has ${sizeBytes} (${formatSize(sizeBytes)})`,
    );
  }

  async lengthBytes(): Promise<number> {
    return await Promise.resolve(this.#sizeBytes);
  }

  async roomBytes(): Promise<number> {
    return await Promise.resolve(this.#sizeBytes);
  }
}
