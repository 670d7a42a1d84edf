/** How often V8 looks for what is dead. */
import { setFlagsFromString } from 'node:v8';

/**
 * Node makes a buffer for each record of TLS, 16 KiB, dead as soon as it was copied into its slab, and the
 * codings make large ones. For every 64 MiB of them V8 marks its whole heap, unless they count as a part of
 * the heap and wait for its own turn: marking was a quarter of the receiver's processor time. To be called
 * first. V8 13.6 (Node 24) to 14.6 know the flag.
 */
export function markWithHeap(): void {
  setFlagsFromString('--external-memory-accounted-in-global-limit');
}
