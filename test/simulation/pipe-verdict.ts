/** Whether what has happened to a pipe explains how a run of its sender ended. */
import type { ErrorCode } from '../../common/errors.ts';
import { objectOf } from '../../sender/client/response-fields.ts';
import type { Seal } from '../../sender/client/receiver-port.ts';
import { claimedSizeOf } from './claimed-geometry.ts';
import type { SimPipe } from './sim-pipe.ts';
import type { SimSender } from './sim-sender.ts';
import type { World } from './world.ts';

/** Whether it is a failure of the size, and something is wrong with that. */
export function isOfPipe(world: World, { pipe }: SimSender, code: ErrorCode): boolean {
  const room = world.profile.pipe?.roomBytes;
  if (pipe === undefined || room === undefined) return false;
  const { givenBytes, deliveredBytes, hasEnded } = pipe;
  const isNot = (size: number): boolean => deliveredBytes > size || (hasEnded && deliveredBytes < size);
  switch (code) {
    case 'source-refused':
      return hasEnded && deliveredBytes === 0 && givenBytes !== 0;
    case 'source-size':
      return givenBytes !== null && isNot(givenBytes);
    case 'target-too-small':
      return Math.max(givenBytes ?? 0, deliveredBytes) > room;
    case 'transfer-mismatch': {
      const claimed = claimedSizeOf(world);
      if (claimed !== null) return isNot(claimed) || (givenBytes !== null && givenBytes !== claimed);
      // Blocks are there that an earlier, longer one has sent.
      return (hasEnded || givenBytes !== null) && world.source.sizesBytes.size > 1;
    }
    default:
      return false;
  }
}

/** What is wrong with the size of a copy that is sealed. */
export function faultOfSealedPipe({ disk }: World, pipe: SimPipe, { text }: Seal): string | undefined {
  const { givenBytes, deliveredBytes, hasEnded } = pipe;
  if (!hasEnded) return 'sealed before the pipe has ended';
  if (givenBytes !== null && givenBytes !== deliveredBytes) {
    return `sealed with ${deliveredBytes} bytes, although ${givenBytes} were expected`;
  }
  const size = objectOf(Buffer.from(text))['size'];
  if (size !== deliveredBytes) return `sealed with ${String(size)} of ${deliveredBytes} bytes`;
  const length = disk.length?.presentBytes ?? size;
  return length === size ? undefined : `the file has ${length} bytes, not ${size}`;
}
