/** Messages for the operator, on standard error, as text or as JSON lines. Never a secret. */
import type { Clock } from '../../common/clock.ts';
import { printable, redact } from '../../common/text.ts';

export interface AuditMembers {
  readonly action: 'claim' | 'seal' | 'reopen' | 'update' | 'verify' | 'refuse';
  readonly address?: string;
  /** The first digits of the token's SHA-256. */
  readonly token?: string;
  /** Whose own key has signed it. */
  readonly signer?: string;
}

type Members = Partial<AuditMembers> & { readonly target?: string; readonly code?: string };

export interface Log {
  info(message: string): void;
  /** @param code of what people should know of; in JSON with this member. */
  warning(message: string, code?: string): void;
  /** What somebody with a token has done; in JSON with these members too. */
  audit(message: string, members: AuditMembers): void;
  /** An error that only a bug can cause; logged with its stack. */
  bug(error: unknown): void;
  /** The same log, for what concerns one of several targets. */
  of(target: string): Log;
}

/** @param write returns false for a line that it drops; the next one that it takes tells their number. */
export function makeLog(format: 'text' | 'json', clock: Clock, write: (line: string) => unknown): Log {
  let droppedLines = 0;
  const put = (level: string, message: string, members: Members = {}): void => {
    if (droppedLines > 0) {
      const lines = droppedLines === 1 ? '1 line of the log was' : `${droppedLines} lines of the log were`;
      const note = `${lines} dropped: nothing read them`;
      if (write(lineOf('warning', note, {})) !== false) droppedLines = 0;
    }
    if (write(lineOf(level, message, members)) === false) droppedLines++;
  };
  const lineOf = (level: string, message: string, members: Members): string => {
    const text = message
      .split('\n')
      .map((line) => printable(redact(line)))
      .join('\n');
    const ms = clock.wallMs();
    if (format === 'json') {
      return `${JSON.stringify({ time: new Date(ms).toISOString(), level, message: text, ...members })}\n`;
    }
    return `${localTime(ms)} ddt-receive: ${level === 'info' ? '' : `${level}: `}${text}\n`;
  };
  const logOf = (target?: string): Log => {
    const own = target === undefined ? {} : { target: printable(target) };
    const named = (message: string): string =>
      target === undefined || format === 'json' ? message : `${target}: ${message}`;
    return {
      info: (message) => put('info', named(message), own),
      warning: (message, code) => put('warning', named(message), code === undefined ? own : { ...own, code }),
      audit: (message, members) =>
        put(members.action === 'refuse' ? 'warning' : 'info', named(message), { ...own, ...members }),
      bug: (error) => put('bug', error instanceof Error ? (error.stack ?? error.message) : String(error)),
      of: logOf,
    };
  };
  return logOf();
}

/**
 * `2026-11-28T22:30:05+01:00` (RFC 3339), as journalctl and rsyslog can print it: the hour that people look
 * for, which two machines, or a night with a change of the clocks, can't confuse.
 */
function localTime(ms: number): string {
  const offsetMinutes = -new Date(ms).getTimezoneOffset();
  const local = new Date(ms + offsetMinutes * 60_000).toISOString().slice(0, 19);
  const two = (value: number): string => String(Math.trunc(value)).padStart(2, '0');
  const minutes = Math.abs(offsetMinutes);
  return `${local}${offsetMinutes < 0 ? '-' : '+'}${two(minutes / 60)}:${two(minutes % 60)}`;
}
