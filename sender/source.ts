/** The port to the disk that is read. */
import type { SourceDescription } from '../common/protocol.ts';

export interface Source extends AsyncDisposable {
  readonly description: SourceDescription;
  readonly sizeBytes: number;
  /** How large it is by now; absent where that cannot be asked for. @throws TransferError `source-read`. */
  presentSizeBytes?(): Promise<number>;
  /**
   * Fills `into` from `offset`; all of it or nothing.
   * @param into a slab's first bytes: what follows them in the slab, up to the next 4096, may be overwritten.
   * @throws TransferError `source-read` when the device can't read it, `source-changed` when the source ends
   * before.
   */
  read(into: Buffer<ArrayBuffer>, offset: number): Promise<void>;
}
