/** A plan as a POSIX shell script that needs no minict. Pure. */
import { commandArgv } from '../runner/batch.ts';
import type { Command, Step } from '../step.ts';

export function quote(word: string): string {
  return /^[A-Za-z0-9_@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
}

export function commandLine(command: Command): string {
  switch (command.kind) {
    case 'mkdir':
      return `mkdir ${command.parents ? '-p' : `-m ${command.mode.toString(8)}`} ${quote(command.path)}`;
    case 'write': {
      const path = quote(command.path);
      if (command.exclusive) return `(set -C; : >${path})`;
      return `printf %s ${quote(command.content)} >${path}`;
    }
    case 'unlink':
      return `rm ${quote(command.path)}`;
    case 'rmdir':
      return `rmdir ${quote(command.path)}`;
    case 'rmtree':
      return `rm -rf --one-file-system -- ${quote(command.path)}`;
    default: {
      const line = commandArgv(command).map(quote).join(' ');
      const files = command.kind === 'umount' && command.unlink ? command.targets : [];
      return files.length === 0 ? line : `${line} && rm ${files.map(quote).join(' ')}`;
    }
  }
}

export function script(title: string, steps: readonly Step[]): string {
  const lines = steps.map((step) => `# ${step.why}\n${commandLine(step.run)}\n`);
  return `#!/bin/sh\n# ${title}\nset -eu\n${lines.join('')}`;
}

/** The way back: every step that needs an undo of its own, backwards, going on after a failure. */
export function undoScript(title: string, steps: readonly Step[]): string {
  const ids = new Set(steps.map((step) => step.id));
  const lines = [...steps]
    .reverse()
    .filter((step) => step.undo && !(step.endsWith && ids.has(step.endsWith)))
    .map((step) => `# undo: ${step.why}\n${step.undo ? commandLine(step.undo) : ''}\n`);
  return `#!/bin/sh\n# ${title}\nset -u\n${lines.join('')}`;
}
