/** The port to a source that can be read at any offset: a disk or a file. */
import type { Area } from '../../common/areas.ts';
import type { SourceDescription } from '../../common/protocol/protocol.ts';
import type { ReadMap } from '../bad-sectors/read-map.ts';
import type { RunOut } from '../bad-sectors/optical-run-out.ts';

export interface Source extends AsyncDisposable {
  readonly description: SourceDescription;
  readonly sizeBytes: number;
  /** The size at this moment; absent if it cannot be asked for. @throws TransferError `source-read`. */
  presentSizeBytes?(): Promise<number>;
  /** What has been read of it; kept if reading may fail in places. */
  readonly map?: ReadMap;
  /** Of an optical disc. */
  readonly runOut?: RunOut | undefined;
  /**
   * Fills all of `into` from `offset`; unreadable areas become zeros, if that is allowed.
   * @param into a slab's first bytes: what follows them in the slab, up to the next 4096, may be overwritten.
   * @returns the unreadable areas, in bytes of the source; usually none.
   * @throws TransferError `source-read` if the device cannot read it, `source-changed` if the source ends
   * before.
   */
  read(into: Buffer<ArrayBuffer>, offset: number, signal?: AbortSignal): Promise<readonly Area[]>;
}
