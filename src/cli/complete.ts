/** What the last word of a command line may become: verbs, options, their choices, and names of what there is. */
import type { Option } from 'commander';
import { contextFrom } from '../lifecycle/context.ts';
import { listNetworks } from '../state/network.ts';
import type { Roots } from '../state/paths.ts';
import { findContainer, listContainers } from '../state/store.ts';
import { volumeNames } from '../storage/volume.ts';
import { CommanderCommand } from './commander-program.ts';
import { addGlobalOptions, VERBS } from './verbs.ts';

/** All there are, whatever of the word is there already. */
type Names = (roots: Roots, word: string) => readonly string[] | Promise<readonly string[]>;

const none: Names = () => [];
const containers: Names = (roots) => listContainers(roots);
const networks: Names = (roots) => listNetworks(roots);
const volumes: Names = (roots) => volumeNames(roots);

const images: Names = async (roots) => {
  const { nameOf, readCatalog } = await import('../image/catalog.ts');
  const { shownName } = await import('../image/reference.ts');
  return (await readCatalog(roots)).flatMap((entry) => nameOf(entry) ?? []).map(shownName);
};

/** `web1:`, and then its interfaces. */
const interfaces: Names = async (roots, word) => {
  const [name = '', nic] = word.split(':');
  if (nic === undefined) return listContainers(roots).map((each) => `${each}:`);
  return ((await findContainer(roots, name))?.nics ?? []).map((each) => `${name}:${each.name}`);
};

/** By the operand's name, with its verb before it where that means another thing. */
const OPERANDS: Readonly<Record<string, Names>> = {
  name: containers,
  source: containers,
  target: containers,
  container: containers,
  network: networks,
  image: images,
  shell: () => ['bash'],
  nic: interfaces,
  end: interfaces,
  'container:interface': interfaces,
  'create name': none,
  'run name': none,
  'clone name': none,
  'network create name': none,
  'network tap name': none,
  'network inspect name': networks,
  'network rm name': networks,
  'volume create name': none,
  'volume inspect name': volumes,
  'volume rm name': volumes,
  'image build name': none,
  'image import name': none,
  'image import source': none,
  'image pull name': none,
  'image pull source': none,
  'image tag name': none,
};

const VALUES: Readonly<Record<string, Names>> = {
  '--image': images,
  '--network': networks,
  '--nic': (roots) => [...listNetworks(roots), 'p2p:', 'phys:'],
};

/** Takes the next word. */
const takesNext = (option: Option | undefined, word: string) =>
  option !== undefined && (option.required || option.optional) && !word.includes('=');

const find = (command: CommanderCommand, word: string) =>
  command.options.find(({ short, long }) => [short, long].includes(word.split('=')[0]));

const optionNames = (command: CommanderCommand) => [...command.options.flatMap(({ long }) => long ?? []), '--help'];

/** Of a verb that is known: `path` is its name, with its group's. */
async function completeVerb(verb: CommanderCommand, path: string, words: readonly string[], roots: Roots) {
  const operands: string[] = [];
  let pending: Option | undefined;
  for (const word of words.slice(0, -1)) {
    const option = pending === undefined && word.startsWith('-') ? find(verb, word) : undefined;
    if (pending !== undefined) pending = undefined;
    else if (takesNext(option, word)) pending = option;
    else if (!word.startsWith('-')) operands.push(word);
  }
  const last = words.at(-1) ?? '';
  if (pending !== undefined) return pending.argChoices ?? VALUES[pending.long ?? '']?.(roots, last) ?? [];
  const operand =
    verb.registeredArguments[operands.length] ?? verb.registeredArguments.findLast((each) => each.variadic);
  const isProgram = operand?.name() === 'cmd';
  // Options stand on either side of NAME, but of `exec` only before it.
  if (last.startsWith('-'))
    return isProgram && operands.length + Number(!verb.takesCommand) > 1 ? [] : optionNames(verb);
  if (operand === undefined || isProgram) return [];
  return (OPERANDS[`${path} ${operand.name()}`] ?? OPERANDS[operand.name()] ?? none)(roots, last);
}

async function candidates(words: readonly string[]): Promise<readonly string[]> {
  const program = addGlobalOptions(new CommanderCommand('minict'));
  let at = 0;
  while (at < words.length - 1 && words[at]?.startsWith('-'))
    at += takesNext(find(program, words[at] ?? ''), '') ? 2 : 1;
  program.parseOptions(words.slice(0, at));
  const { roots } = contextFrom(program.opts());
  const [name = '', ...rest] = words.slice(at);
  if (rest.length === 0) return name.startsWith('-') ? optionNames(program) : [...Object.keys(VERBS), 'help'];
  if (name === 'help') return candidates(rest);
  const known = Object.hasOwn(VERBS, name) ? VERBS[name] : undefined;
  if (known === undefined) return [];
  let verb = new CommanderCommand(name);
  (await known.load()).define(verb, () => ({}));
  let path = name;
  let left = rest;
  while (verb.commands.length > 0) {
    const inner = verb.commands.find((each) => [each.name(), ...each.aliases()].includes(left[0] ?? ''));
    if (inner === undefined || left.length === 1) break;
    await verb.defineInner?.(inner as CommanderCommand);
    verb = inner as CommanderCommand;
    path = `${path} ${verb.name()}`;
    left = left.slice(1);
  }
  const own = await completeVerb(verb, path, left, roots);
  return left.length === 1 && !left[0]?.startsWith('-') ? [...verb.commands.map((each) => each.name()), ...own] : own;
}

/** `words` are those after `minict`; the last one, which may be empty, is the one. Sorted; none where nothing is known. */
export async function complete(words: readonly string[]): Promise<string[]> {
  const last = words.at(-1) ?? '';
  try {
    return (await candidates(words)).filter((word) => word.startsWith(last)).sort();
  } catch (error) {
    // The state folder is root's, and may not be there yet.
    if (['EACCES', 'ENOENT'].includes((error as NodeJS.ErrnoException).code ?? '')) return [];
    throw error;
  }
}
