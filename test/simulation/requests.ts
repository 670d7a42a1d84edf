/** What goes over the line: the requests of the protocol and their responses, without HTTP. */
import type { Area } from '../../common/areas.ts';
import type { TransferError } from '../../common/errors.ts';
import type { Claim } from '../../common/protocol/protocol.ts';
import type { Range } from '../../common/ranges.ts';
import type { ResponseInfo } from '../../sender/client/receiver-port.ts';
import type { Stamps } from './contents.ts';

/** The body of a block as the receiver gets it. */
export interface SentBlock {
  readonly index: number;
  readonly lengthBytes: number;
  readonly digest: Buffer;
  readonly isFlushed: boolean;
  readonly unreadable: readonly Area[];
  /** The bytes that have left the sender; to be called when the body has arrived. */
  stamps(): Stamps;
  /** How long the body takes after the head. */
  readonly bodyMs: number;
  /** The connection breaks within the body, or nothing more arrives. */
  readonly fate: 'whole' | 'cut' | 'stalled';
}

export type Request =
  | { readonly kind: 'transfer' }
  | { readonly kind: 'claim'; readonly claim: Claim }
  | { readonly kind: 'list'; readonly from: number; readonly count: number }
  | { readonly kind: 'head'; readonly index: number }
  | { readonly kind: 'get'; readonly index: number }
  | { readonly kind: 'put'; readonly block: SentBlock }
  | { readonly kind: 'copy'; readonly from: number; readonly to: number; readonly digest: Buffer }
  | { readonly kind: 'zero'; readonly ranges: readonly Range[] }
  | { readonly kind: 'flush' }
  | { readonly kind: 'reopen' }
  | { readonly kind: 'verify' }
  | { readonly kind: 'complete'; readonly blockCount: number; readonly root: Buffer };

/** `info` is in the head of every response, including errors. */
export interface Answer {
  readonly info: Omit<ResponseInfo, 'requestedMs'>;
  readonly body: Buffer;
  readonly error: TransferError | undefined;
}
