/** The transfer that a ticket is for, as it is now: nothing is claimed. */
import type { TransferStatus } from '../../common/protocol/protocol.ts';
import { makeRetries } from './make-retries.ts';
import type { SendContext, SendRequest } from './send.ts';

/** @throws TransferError as a run would at its start. */
export async function findTransfer(request: SendRequest, context: SendContext): Promise<TransferStatus> {
  const { signal } = context;
  const retries = makeRetries(request, context);
  await using stack = new AsyncDisposableStack();
  const client = request.connect(() => {});
  stack.defer(async () => await client.close());
  return await retries.run(signal, async () => await client.transfer(signal));
}
