/** Interfaces: `link set dev eth0 mtu 1500 …`. None is made and none removed. */
import { readNamespaceLinks } from '../host/links.ts';
import type { Kind, Lines } from './kind.ts';
import { toolStep } from './kind.ts';

const PREFIX = 'link set dev ';

export function linkName(line: string): string {
  return line.slice(PREFIX.length).split(' ')[0] ?? '';
}

export function linkNames(lines: Lines): string[] {
  return lines.map(linkName);
}

/** Attributes with their values; `up` and `down` are one without. */
function attributesOf(line: string): Map<string, string> {
  const words = line.slice(PREFIX.length).split(' ').slice(1);
  const state = words.pop() ?? '';
  const pairs = new Map<string, string>([['state', state]]);
  for (let at = 0; at + 1 < words.length; at += 2) pairs.set(words[at] as string, words[at + 1] as string);
  return pairs;
}

/** What `then` has other than `now`, as words of ip(8). */
function changes(then: string, now: string): string[] {
  const [wanted, there] = [attributesOf(then), attributesOf(now)];
  const words = [...wanted].flatMap(([key, value]) => {
    if (there.get(key) === value) return [];
    return key === 'state' ? [value] : [key, value];
  });
  return there.has('master') && !wanted.has('master') ? [...words, 'nomaster'] : words;
}

export const links: Kind = {
  name: 'links',
  read: async ({ netns }) => {
    const found = readNamespaceLinks(netns).map((link) =>
      [
        `${PREFIX}${link.name} mtu ${link.mtuBytes}`,
        ...(link.queueLength === 0 ? [] : [`txqueuelen ${link.queueLength}`]),
        // A tunnel's is set by its type.
        ...(link.mac === undefined ? [] : [`address ${link.mac}`]),
        ...(link.master === undefined ? [] : [`master ${link.master}`]),
        link.isUp ? 'up' : 'down',
      ].join(' '),
    );
    // The kernel has them in the order in which they were made, which a reboot may change.
    return found.sort();
  },
  restore: (place, then, now) => {
    const there = new Map(now.map((line) => [linkName(line), line]));
    return then.flatMap((line) => {
      const words = there.has(linkName(line)) ? changes(line, there.get(linkName(line)) as string) : [];
      if (words.length === 0) return [];
      return [toolStep(place, 'ip', 'the interface as it was', `${PREFIX}${linkName(line)} ${words.join(' ')}`)];
    });
  },
};
