/**
 * A long-distance line on this machine: two network namespaces joined by `wan.c`, which imposes a rate, a
 * delay, a loss and a queue. Needs root, a C compiler, iproute2 and /dev/net/tun.
 */
import { existsSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { findProgram, unlessInstalled } from '../../test/support/requires.ts';
import { run, runOk, start } from '../../test/support/run.ts';
import { Failure, runTool } from '../run-script.ts';
import type { Route } from './copy.ts';

const START_TIMEOUT_MS = 10_000;
/** What most machines use. */
export const CONGESTION_CONTROL_USUAL = 'cubic';
const ALLOWED = '/proc/sys/net/ipv4/tcp_allowed_congestion_control';

export interface LineOptions {
  readonly rateMbit: number;
  /** Both ways. */
  readonly roundTripMs: number;
  readonly lossPercent: number;
  /** Of TCP at both ends; default {@link CONGESTION_CONTROL_USUAL}. */
  readonly congestionControl?: string | undefined;
}

/** The near end is 10.77.0.1. */
export interface LongLine extends Route {
  arrivedBytes(): Promise<number>;
  /** Changes the line while connections are open. */
  change(options: LineOptions): Promise<void>;
}

/** @param text such as 100/40/0.5: Mbit/s, ms, per cent. @throws Failure that names the option. */
export function parseLine(text: string, option = '--lines'): LineOptions {
  const match = /^(\d+)\/(\d+)\/(\d+(?:\.\d+)?)$/.exec(text);
  if (match === null) throw new Failure(`${option}: '${text}' is not rate/rtt/loss, such as 100/40/0.5`, 2);
  return { rateMbit: Number(match[1]), roundTripMs: Number(match[2]), lossPercent: Number(match[3]) };
}

export function lineName({ rateMbit, roundTripMs, lossPercent }: LineOptions): string {
  const rate = rateMbit >= 1000 ? `${rateMbit / 1000} Gbit/s` : `${rateMbit} Mbit/s`;
  return `${rate}, ${roundTripMs} ms, ${lossPercent === 0 ? 'no loss' : `${lossPercent} % loss`}`;
}

/** @returns the path of the program. @throws Failure that says what is missing. */
export async function buildWan(folder: string, signal: AbortSignal): Promise<string> {
  if (process.getuid?.() !== 0) throw new Failure('network namespaces need root: run it with sudo', 2);
  if (!existsSync('/dev/net/tun')) throw new Failure('there is no /dev/net/tun here', 2);
  if (findProgram('cc') === undefined) {
    throw new Failure('there is no C compiler here: apt-get install gcc libc6-dev', 2);
  }
  const missing = unlessInstalled('ip');
  if (missing !== false) throw new Failure(`${missing}: apt-get install iproute2`, 2);
  const program = join(folder, 'wan');
  await runTool('cc', ['-O2', '-o', program, join(import.meta.dirname, 'wan.c')], signal);
  return program;
}

function wanOptions({ rateMbit, roundTripMs, lossPercent }: LineOptions): string {
  return `rate=${rateMbit}\ndelay=${roundTripMs / 2}\nloss=${lossPercent}\n`;
}

/** A namespace can use only what the machine allows. */
async function allowCongestionControl(name: string, stack: AsyncDisposableStack): Promise<void> {
  const allowed = (await readFile(ALLOWED, 'utf8')).trim();
  if (allowed.split(' ').includes(name)) return;
  await writeFile(ALLOWED, `${allowed} ${name}`).catch(() => {
    throw new Failure(`the kernel does not offer the congestion control '${name}'`, 2);
  });
  stack.defer(async () => await writeFile(ALLOWED, allowed));
}

/** A new line, with no TCP metrics left over from an earlier one. @param stack takes it down. */
export async function openLine(
  wan: string,
  options: LineOptions,
  signal: AbortSignal,
  stack: AsyncDisposableStack,
): Promise<LongLine> {
  const names = ['near', 'far'].map((end) => `ddt-${end}-${process.pid}`);
  const [near = '', far = ''] = names;
  const congestionControl = options.congestionControl ?? CONGESTION_CONTROL_USUAL;
  await allowCongestionControl(congestionControl, stack);
  for (const name of names) {
    await runTool('ip', ['netns', 'add', name], signal);
    stack.defer(async () => void (await run('ip', ['netns', 'del', name])));
    // Or a connection would start with the window of an earlier one.
    const settings = [
      `net.ipv4.tcp_congestion_control=${congestionControl}`,
      'net.ipv4.tcp_no_metrics_save=1',
    ];
    await runTool('ip', ['netns', 'exec', name, 'sysctl', '-q', '-w', ...settings], signal);
  }
  const file = `${wan}-options`;
  await writeFile(file, wanOptions(options));
  const link = stack.use(
    await start(wan, [near, '10.77.0.1/24', far, '10.77.0.2/24', `file=${file}`, 'seed=1']),
  );
  await link.waitForLine(/^wan: up/, START_TIMEOUT_MS);
  const withinFar = ['ip', 'netns', 'exec', far];
  return {
    near: ['ip', 'netns', 'exec', near],
    far: withinFar,
    farAddress: '10.77.0.2',
    async arrivedBytes() {
      return Number(await runOk('cat', ['/sys/class/net/wan/statistics/rx_bytes'], { under: withinFar }));
    },
    async change(changed) {
      await writeFile(file, wanOptions(changed));
      link.kill('SIGHUP');
    },
  };
}
