/** A receiver on a machine that ssh reaches, from the login to what is left there. */
import type { Clock } from '../../common/clock.ts';
import type { TransferError } from '../../common/errors.ts';
import type { Ticket } from '../../common/trust/ticket.ts';
import type { Dial } from '../client/connection/connector.ts';
import type { UnackedBytes } from '../client/connection/unacked-bytes.ts';
import { hostOf, type Destination } from '../../common/ssh/destination.ts';
import type { DirectPlace } from './direct-place.ts';
import { FarDial } from './far-dial.ts';
import { FarReceiver, type FarReceiverOptions } from './far-receiver.ts';
import { SshClient } from '../../common/ssh/ssh-client.ts';

export interface FarOptions extends FarReceiverOptions {
  readonly destination: Destination;
  /** What is run instead of `ssh`, by the shell. */
  readonly sshCommand: string;
  /** Where the receiver's port may be reached, instead of what ssh and the receiver say. */
  readonly direct: DirectPlace | undefined;
}

export interface FarParts {
  readonly unacked: UnackedBytes;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  /** A fact for people. */
  readonly say: (fact: string) => void;
  readonly warn: (warning: string) => void;
  /** A line that ssh prints while somebody may have to react to it. */
  readonly onWords: (line: string) => void;
  /** Whether what the target holds may be overwritten. */
  readonly mayOverwrite: (refusal: TransferError) => Promise<boolean>;
}

export interface Far extends AsyncDisposable {
  /** One for each target, in their order. */
  readonly tickets: readonly Ticket[];
  readonly dial: Dial;
  readonly connectionsMax: number | undefined;
  /**
   * To be called when the sender's connections are closed.
   * @param outcome `open`: everything stays. `recorded`: the receiver ends. `complete`: what was brought is
   * removed. `untouched`: the same, unless it was there before.
   * @returns what is still there.
   */
  leave(outcome: 'untouched' | 'open' | 'recorded' | 'complete'): Promise<readonly string[]>;
}

/** @throws TransferError; nothing is left running then. */
export async function openFar(options: FarOptions, parts: FarParts): Promise<Far> {
  const { destination, sshCommand, direct } = options;
  const { signal, say, onWords } = parts;
  await using stack = new AsyncDisposableStack();
  const ssh = stack.use(await SshClient.open({ command: sshCommand, destination, onWords }));
  const receiver = new FarReceiver(options, { ssh, signal, say });
  try {
    const hostName = ssh.hostName();
    await receiver.prepare(true);
    const tickets = await receiver.start(parts.mayOverwrite);
    const [ticket] = tickets;
    const known = [await hostName, ticket.host].filter((host) => host !== undefined);
    const places = direct === undefined ? [...new Set(known)].map((host) => ({ host })) : [direct];
    const dial = new FarDial({ ...parts, ssh, receiver }, ticket, places);
    stack.defer(() => dial.close());
    await dial.choose();
    const owned = stack.move();
    return {
      tickets: tickets.map((each) => ({ ...each, host: hostOf(destination) })),
      dial: dial.dial,
      connectionsMax: dial.connectionsMax,
      leave: async (outcome) => {
        dial.close();
        return await receiver.leave(outcome);
      },
      [Symbol.asyncDispose]: async () => await owned.disposeAsync(),
    };
  } catch (error) {
    await receiver.leave('untouched').catch(() => {});
    throw error;
  }
}
