/** A plan as a POSIX shell script that needs no minict. Pure. */
import { commandArgv } from '../runner/batch.ts';
import { inMountinfo } from '../spec/octal.ts';
import { quote, shellLine } from '../spec/shell-words.ts';
import type { Command, Step } from '../step.ts';

export function commandLine(command: Command): string {
  switch (command.kind) {
    case 'mkdir':
      return `mkdir ${command.parents ? '-p' : `-m ${command.mode.toString(8)}`} ${quote(command.path)}`;
    case 'write': {
      const path = quote(command.path);
      if (command.exclusive) return `(set -C; : >${path})`;
      return `printf %s ${quote(command.content)} >${path}`;
    }
    case 'mountpoint': {
      const path = `${command.within}/${command.path}`;
      const above = path.slice(0, path.lastIndexOf('/'));
      return command.folder ? `mkdir -p ${quote(path)}` : `mkdir -p ${quote(above)} && : >>${quote(path)}`;
    }
    case 'unlink':
      return `rm ${quote(command.path)}`;
    case 'rmdir':
      return `rmdir ${quote(command.path)}`;
    case 'rmtree':
      return rmtreeLines(command.path, command.subvolume);
    default: {
      const line = shellLine(commandArgv(command));
      const files = command.kind === 'umount' && command.unlink ? command.targets : [];
      return files.length === 0 ? line : `${line} && rm ${shellLine(files)}`;
    }
  }
}

/** What is mounted in the folder is another's, and has no border that rm sees where both are on one disk. */
function rmtreeLines(path: string, subvolume: string | undefined): string {
  const mounts = `cut -d ' ' -f 5 /proc/self/mountinfo | sed 's|$|/|' | grep -F ${quote(`${inMountinfo(path)}/`)}`;
  const refuse = `echo 'not removed: mounted in it' >&2; false`;
  const first = subvolume === undefined ? '' : `btrfs subvolume delete -- ${quote(subvolume)}; `;
  return `if ${mounts} >&2; then ${refuse}\nelse ${first}rm -rf --one-file-system -- ${quote(path)}; fi`;
}

/** A command with its reason, as lines of a script. */
function explained(why: string, command: Command): string {
  return `# ${why.replaceAll('\n', ' ')}\n${commandLine(command)}\n`;
}

export function runLines(steps: readonly Step[]): string {
  return steps.map((step) => explained(step.why, step.run)).join('');
}

/** The way back: every step that needs an undo of its own, backwards. */
export function undoLines(steps: readonly Step[]): string {
  const ids = new Set(steps.map((step) => step.id));
  return [...steps]
    .reverse()
    .filter((step) => !(step.endsWith && ids.has(step.endsWith)))
    .map((step) => (step.undo ? explained(`undo: ${step.why}`, step.undo) : ''))
    .join('');
}

/** Lines that go on after a failure, in a script that otherwise stops. */
export function goingOn(lines: string): string {
  return `set +e\n${lines}set -e\n`;
}

/** `onFailure`: a way back goes on, as an undo does. The umask is minict's own. */
export function script(title: string, onFailure: 'stop' | 'go on', lines: string): string {
  // What an inner sh is to expand stands in single quotes, as it should.
  const checked = '# shellcheck disable=SC2016';
  return `#!/bin/sh\n# ${title}\n${checked}\nset -${onFailure === 'stop' ? 'eu' : 'u'}\numask 022\n${lines}`;
}
