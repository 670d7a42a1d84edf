/**
 * A long-distance line on this machine: two network namespaces, and between them `wan.c`, which has a rate, a
 * delay, a loss and a queue. For root, with a C compiler, iproute2 and /dev/net/tun.
 */
import { existsSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Route } from './bench-copy.ts';
import { Failure, OwnProcess, SCRIPTS, run, until } from './both-sides.ts';
import { findProgram } from './loopback-ssh.ts';

const START_TIMEOUT_MS = 10_000;
/** What most machines use; a namespace may choose among these only. */
const CONGESTION_CONTROL = 'cubic';
const ALLOWED = '/proc/sys/net/ipv4/tcp_allowed_congestion_control';

export interface LineOptions {
  readonly rateMbit: number;
  /** There and back. */
  readonly roundTripMs: number;
  readonly lossPercent: number;
}

/** The near end is 10.77.0.1. */
export interface LongLine extends Route {
  arrivedBytes(): Promise<number>;
  /** Changes the line under the connections that are open. */
  change(options: LineOptions): Promise<void>;
}

export function lineName({ rateMbit, roundTripMs, lossPercent }: LineOptions): string {
  const rate = rateMbit >= 1000 ? `${rateMbit / 1000} Gbit/s` : `${rateMbit} Mbit/s`;
  return `${rate}, ${roundTripMs} ms, ${lossPercent === 0 ? 'no loss' : `${lossPercent} % loss`}`;
}

/** @returns the program. @throws Failure with what is missing. */
export async function buildWan(folder: string, signal: AbortSignal): Promise<string> {
  if (process.getuid?.() !== 0) throw new Failure('network namespaces are made by root: sudo npm run …', 2);
  if (!existsSync('/dev/net/tun')) throw new Failure('there is no /dev/net/tun here', 2);
  const needed = [
    ['cc', 'gcc libc6-dev'],
    ['ip', 'iproute2'],
  ] as const;
  for (const [program, packages] of needed) {
    if (findProgram(program) === undefined) throw new Failure(`missing: apt-get install ${packages}`, 2);
  }
  const program = join(folder, 'wan');
  await run('cc', ['-O2', '-o', program, join(SCRIPTS, 'wan.c')], signal);
  return program;
}

function wanOptions({ rateMbit, roundTripMs, lossPercent }: LineOptions): string {
  return `rate=${rateMbit}\ndelay=${roundTripMs / 2}\nloss=${lossPercent}\n`;
}

async function allowCongestionControl(stack: AsyncDisposableStack): Promise<void> {
  const allowed = (await readFile(ALLOWED, 'utf8')).trim();
  if (allowed.split(' ').includes(CONGESTION_CONTROL)) return;
  await writeFile(ALLOWED, `${allowed} ${CONGESTION_CONTROL}`);
  stack.defer(async () => await writeFile(ALLOWED, allowed));
}

/** A new line, with nothing remembered of an earlier one. @param stack takes it down. */
export async function openLine(
  wan: string,
  options: LineOptions,
  signal: AbortSignal,
  stack: AsyncDisposableStack,
): Promise<LongLine> {
  const names = ['near', 'far'].map((end) => `ddt-${end}-${process.pid}`);
  const [near = '', far = ''] = names;
  await allowCongestionControl(stack);
  for (const name of names) {
    await run('ip', ['netns', 'add', name], signal);
    stack.defer(async () => void (await new OwnProcess('ip', ['netns', 'del', name]).ended));
    // No window is guessed from an earlier connection.
    const settings = [
      `net.ipv4.tcp_congestion_control=${CONGESTION_CONTROL}`,
      'net.ipv4.tcp_no_metrics_save=1',
    ];
    await run('ip', ['netns', 'exec', name, 'sysctl', '-q', '-w', ...settings], signal);
  }
  const file = `${wan}-options`;
  await writeFile(file, wanOptions(options));
  const link = stack.use(
    new OwnProcess(wan, [near, '10.77.0.1/24', far, '10.77.0.2/24', `file=${file}`, 'seed=1']),
  );
  await until('the line', signal, START_TIMEOUT_MS, () => {
    if (!link.isRunning) throw new Failure(`wan: ${link.errors.join(' · ')}`);
    return link.lines.some((line) => line.startsWith('wan: up'));
  });
  const withinFar = ['ip', 'netns', 'exec', far];
  return {
    near: ['ip', 'netns', 'exec', near],
    far: withinFar,
    farAddress: '10.77.0.2',
    async arrivedBytes() {
      const counter = ['cat', '/sys/class/net/wan/statistics/rx_bytes'];
      return Number((await OwnProcess.within(withinFar, counter).ended).lines[0]);
    },
    async change(changed) {
      await writeFile(file, wanOptions(changed));
      link.kill('SIGHUP');
    },
  };
}
