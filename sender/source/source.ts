/** The port to a source that can be read anywhere, and again: a disk, a file. */
import type { Area } from '../../common/areas.ts';
import type { OpenDisk } from '../../common/disk/open-disk.ts';
import type { SourceDescription } from '../../common/protocol/protocol.ts';
import type { ReadMap } from '../bad-sectors/read-map.ts';
import type { RunOut } from '../bad-sectors/optical-run-out.ts';

export interface Source extends AsyncDisposable {
  /** Tells it from a {@link Stream}. */
  readonly canReread: true;
  readonly description: SourceDescription;
  readonly sizeBytes: number;
  /** The disk or file of this machine that it is; absent for any other source. */
  readonly disk?: OpenDisk;
  /** How large it is by now; absent where that cannot be asked for. @throws TransferError `source-read`. */
  presentSizeBytes?(): Promise<number>;
  /** What was read of it; kept where reading may fail in places. */
  readonly map?: ReadMap;
  /** What a person should know of it before it is copied; sentences. */
  readonly notes?: readonly string[];
  /** Areas that are not read, and are zeros in what is read; joined. Absent: everything is read. */
  readonly leftOut?: readonly Area[];
  /** Of an optical disc. */
  readonly runOut?: RunOut | undefined;
  /**
   * Fills `into` from `offset`; all of it or nothing, but for what can't be read and may be zeros instead.
   * @param into a slab's first bytes: what follows them in the slab, up to the next 4096, may be overwritten.
   * @returns the areas that are zeros because they could not be read, in bytes of the source; as a rule none.
   * @throws TransferError `source-read` when the device can't read it, `source-changed` when the source ends
   * before.
   */
  read(into: Buffer<ArrayBuffer>, offset: number, signal?: AbortSignal): Promise<readonly Area[]>;
  /** A server that holds it may be away for a while: `tell` gets a sentence then, and when it is back. */
  reportOutages?(tell: (sentence: string, isGone: boolean) => void): void;
  /** As `ZeroRuns.count` (zero-runs.ts); absent where that gains nothing. */
  countZeros?(offset: number, blockBytes: number, count: number): Promise<number>;
}
