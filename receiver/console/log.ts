/** Messages for the operator, on standard error, as text or as JSON lines. Never a secret. */
import type { Clock } from '../../common/clock.ts';
import { redact, withoutControls } from '../../common/text.ts';

export interface Log {
  info(message: string): void;
  warning(message: string): void;
  /** An error that only a bug can cause; logged with its stack. */
  bug(error: unknown): void;
}

export function makeLog(format: 'text' | 'json', clock: Clock, write: (line: string) => void): Log {
  const put = (level: string, message: string): void => {
    const text = withoutControls(redact(message));
    const ms = clock.wallMs();
    if (format === 'json') {
      write(`${JSON.stringify({ time: new Date(ms).toISOString(), level, message: text })}\n`);
    } else write(`${localTime(ms)} ddt-receive: ${level === 'info' ? '' : `${level}: `}${text}\n`);
  };
  return {
    info: (message) => put('info', message),
    warning: (message) => put('warning', message),
    bug: (error) => put('bug', error instanceof Error ? (error.stack ?? error.message) : String(error)),
  };
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
