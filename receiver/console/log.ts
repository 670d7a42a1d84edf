/** Messages for the operator, on standard error, as text or as JSON lines. Never a secret. */
import type { Clock } from '../../common/clock.ts';
import { redact } from '../../common/text.ts';

export interface Log {
  info(message: string): void;
  warning(message: string): void;
  /** An error that only a bug can cause: with its stack. */
  bug(error: unknown): void;
}

export function makeLog(format: 'text' | 'json', clock: Clock, write: (line: string) => void): Log {
  const put = (level: string, message: string): void => {
    const text = redact(message);
    const time = new Date(clock.wallMs()).toISOString();
    if (format === 'json') write(`${JSON.stringify({ time, level, message: text })}\n`);
    else write(`ddt-receive: ${level === 'info' ? '' : `${level}: `}${text}\n`);
  };
  return {
    info: (message) => put('info', message),
    warning: (message) => put('warning', message),
    bug: (error) => put('bug', error instanceof Error ? (error.stack ?? error.message) : String(error)),
  };
}
