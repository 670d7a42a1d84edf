/** A block device as the target. */
import { constants } from 'node:fs';
import { open, type FileHandle } from 'node:fs/promises';
import { hintOfPermission } from '../../common/disk/block-devices.ts';
import { contentOf } from '../../common/disk/disk-content.ts';
import type { DiskDescription } from '../../common/disk/disks.ts';
import { openDirect } from '../../common/io/direct-io.ts';
import { TransferError, reasonOf } from '../../common/errors.ts';
import { formatSize } from '../../common/units.ts';
import { DiskTarget, type DiskHandles } from './disk-target.ts';
import { DiskTools } from './disk-tools.ts';
import type { FoundTarget } from './found-target.ts';
import type { TargetIdentity } from './target.ts';
import { OwnMarks, openDeviceMarks } from './write-marks.ts';
import {
  LIST_DISKS,
  holdsData,
  identityOf,
  nameOf,
  quoted,
  refusal,
  refuseUnwritable,
  refuseUsed,
} from './target-safety.ts';

/** @throws TransferError `target-refused`. */
export async function findDevice(disk: DiskDescription): Promise<FoundTarget> {
  if (disk.sizeBytes === 0)
    throw refusal(`cannot write to ${nameOf(disk)}: there is no medium in it`, LIST_DISKS);
  await refuseUsed(disk, `${LIST_DISKS} ${quoted(disk.path)}`);
  if (disk.isReadOnly) {
    const hint = `blockdev --setrw ${quoted(disk.path)}`;
    throw refusal(`cannot write to ${nameOf(disk)}: the device is read-only`, hint);
  }
  await refuseUnwritable(disk, hintOfPermission()?.hint);
  const identity = deviceIdentityOf(disk);
  return {
    identity,
    name: nameOf(disk),
    content: await presentContentOf(disk),
    isAbsent: false,
    open: async () => await DeviceTarget.open(identity),
  };
}

export function deviceIdentityOf(disk: DiskDescription): TargetIdentity {
  return { ...identityOf(disk), sizeBytes: disk.sizeBytes };
}

/** What the signatures say; without one, whether it holds anything but zeros. */
async function presentContentOf(disk: DiskDescription): Promise<string[]> {
  const signatures = await contentOf(disk.realPath);
  return signatures.length > 0 || !(await holdsData(disk)) ? signatures : ['data of an unknown kind'];
}

export class DeviceTarget extends DiskTarget {
  readonly isSizeFixed = true;
  readonly sectorBytes: number;
  readonly #sizeBytes: number;

  private constructor(identity: TargetIdentity, sizeBytes: number, handles: DiskHandles) {
    super(identity, handles);
    this.sectorBytes = identity.logicalSectorBytes;
    this.#sizeBytes = sizeBytes;
  }

  /**
   * Opens it with O_EXCL: EBUSY while it is mounted or claimed by another program, and nobody can claim it
   * afterwards. @throws TransferError `target-refused`.
   */
  static async open(identity: TargetIdentity): Promise<DeviceTarget> {
    const { path, sizeBytes } = identity;
    let buffered: FileHandle | undefined;
    try {
      buffered = await open(path, constants.O_RDWR | constants.O_EXCL);
      const direct = await openDirect(path, 'read-write');
      const marks = (await openDeviceMarks(buffered)) ?? new OwnMarks();
      if (direct === undefined) marks.loseCount();
      const tools = new DiskTools(buffered);
      return new DeviceTarget(identity, sizeBytes ?? 0, { buffered, direct, marks, tools });
    } catch (error) {
      await buffered?.close();
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
