/** In which way a connection goes through ssh, and what to try where it does not. */
import { randomBytes } from 'node:crypto';
import { markedScript } from './far-scripts.ts';
import { isNotLetIn, scriptBytes } from './ssh-client.ts';
import type { SshLane } from './ssh-lane.ts';

/** sshd begins to refuse at ten that have not logged in yet (MaxStartups, sshd_config(5)). */
export const LOGINS_MAX = 8;

/** To be warned of where no connection can have a login of its own. */
export const SHARED_LOGIN =
  'all connections share one of ssh, since it asks a question at each login: slow on a line that loses ' +
  'packets, and nothing can be started again after a reboot';

/** `isOwn`: a login for each connection. `isRelayed`: by a program there, where forwarding is off. */
export interface LaneWay {
  readonly isOwn: boolean;
  readonly isRelayed: boolean;
}

const FORWARDING_IS_OFF = /administratively prohibited|forwarding request failed|unknown channel type/i;

/** What to try where ssh has said this. */
export function nextWay({ isOwn, isRelayed }: LaneWay, words: string): LaneWay | undefined {
  // `connect failed` is about the receiver.
  if (/connect failed/i.test(words)) return undefined;
  if (isOwn && isNotLetIn(words)) return { isOwn: false, isRelayed };
  if (!isRelayed && FORWARDING_IS_OFF.test(words)) return { isOwn, isRelayed: true };
  return undefined;
}

/** Until the program at the other end of the lane passes on what comes. @throws Error of the lane. */
export async function enterRelay(lane: SshLane, command: string): Promise<void> {
  const mark = `ddt-${randomBytes(12).toString('hex')}`;
  await lane.enter(scriptBytes(markedScript(command, mark)), mark);
}
