/** Signals by name or number, as kill(1) and docker take them. Pure. */
import { InvalidInputError } from '../errors.ts';

/** glibc's (signal(7)): the kernel's first two are its own. */
const SIGRTMIN = 34;
const SIGRTMAX = 64;

/** Throws InvalidInputError. */
export function parseSignal(text: string): number {
  const name = text.toUpperCase().replace(/^SIG/, '');
  const realTime = /^RTMIN\+(\d{1,2})$/.exec(name)?.[1];
  // Imported at the top, it would cost every create.
  const { signals } = process.getBuiltinModule('node:os').constants;
  const number =
    (signals as Readonly<Record<string, number>>)[`SIG${name}`] ??
    (realTime === undefined ? Number(/^\d{1,2}$/.test(name) ? name : 0) : SIGRTMIN + Number(realTime));
  if (number >= 1 && number <= SIGRTMAX) return number;
  throw new InvalidInputError(`cannot use signal ${JSON.stringify(text)}: no such signal`, {
    hint: 'for example TERM, SIGQUIT, 15 or RTMIN+3',
  });
}
