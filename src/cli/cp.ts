/** minict cp SRC DST */

import { InvalidInputError } from '../errors.ts';
import { isTerminal } from '../host/exec-calls.ts';
import { contextFrom, requireRoot } from '../lifecycle/context.ts';
import type { CopyOptions, Side } from '../lifecycle/copy.ts';
import { parseContainerName } from '../spec/name.ts';
import { reportFailure } from './report.ts';
import type { Define } from './verbs.ts';

/** docker's rule: `NAME:PATH` is in a container, unless it begins with a slash or a dot. */
function parseSide(word: string, which: string): Side {
  if (word === '') throw new InvalidInputError(`cannot copy: the ${which} is empty`);
  const [name, ...rest] = word.split(':');
  if (rest.length === 0 || /^[/.]/.test(word)) return { container: undefined, path: word };
  const path = rest.join(':');
  if (path === '') {
    throw new InvalidInputError(`cannot copy ${which === 'target' ? 'to ' : ''}${word}: no path`, {
      hint: `${word}/ is its root`,
    });
  }
  return { container: parseContainerName(name as string), path };
}

function refuseTerminal(descriptor: 0 | 1, what: string, hint: string): void {
  if (isTerminal(descriptor)) throw new InvalidInputError(`cannot copy: ${what} is a terminal`, { hint });
}

export const define: Define = (command, globals) => {
  command
    .usage('[options] NAME:SRC DST|-  |  SRC|- NAME:DST')
    .argument('<src>', 'a path, NAME:PATH, or - for a tar stream on stdin')
    .argument('<dst>', 'a path, NAME:PATH, or - for a tar stream on stdout')
    .option('-a, --archive', 'keep owners; without it, all belongs to root')
    .option('-L, --follow-link', 'copy what SRC, a symlink, leads to')
    .action(async (src: string, dst: string, options: CopyOptions) => {
      requireRoot('cp');
      const [from, to] = [parseSide(src, 'source'), parseSide(dst, 'target')];
      if (from.container === undefined && to.container === undefined) {
        throw new InvalidInputError(`cannot copy ${src} to ${dst}: neither is in a container`, {
          hint: 'minict cp NAME:SRC DST, or minict cp SRC NAME:DST',
        });
      }
      if (from.container !== undefined && to.container !== undefined) {
        throw new InvalidInputError(`cannot copy ${src} to ${dst}: both are in containers`, {
          hint: `minict cp ${src} - | minict cp - ${dst}; a file with a colon in its name is ./${src}`,
        });
      }
      if (src === '-') refuseTerminal(0, 'stdin', `tar -c . | minict cp - ${dst}`);
      if (dst === '-') refuseTerminal(1, 'stdout', `minict cp ${src} - | tar -t`);
      const { copy } = await import('../lifecycle/copy.ts');
      for (const failure of await copy(contextFrom(globals()), from, to, options)) reportFailure(failure);
    });
};
