/** systemd units that bring containers up at boot and take them down at its end: one template, and a link for each container. */
import {
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  realpathSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join, resolve } from 'node:path';
import { ConflictError, firstLine, HostError, InvalidInputError } from '../errors.ts';
import { runTool } from '../runner/spawn.ts';
import { rootsFrom } from '../state/paths.ts';
import { getContainer, listContainers } from '../state/store.ts';
import { type Context, spawnContext } from './context.ts';

export const UNIT_DIR = '/etc/systemd/system';

const MARK = '# Made by `minict system install-units`, which replaces it.';
const TARGET = 'multi-user.target';

/** A word of a setting, with what systemd.syntax(7) and systemd.unit(5) would expand taken literally. */
function word(text: string): string {
  const literal = text.replaceAll('%', '%%').replaceAll('\\', '\\\\').replaceAll('"', '\\"');
  return /^[\w@%+=:,./-]+$/.test(literal) ? literal : `"${literal}"`;
}

/** Variables stand in command lines alone (systemd.service(5)). */
function commandWord(text: string): string {
  return word(text.replaceAll('$', '$$$$'));
}

/** Another root's template has another name. */
function unitName(context: Context, instance: string, container: string): string {
  const isDefault = context.roots.root === rootsFrom({}, {}).root;
  return `minict${isDefault ? '' : `-${instance}`}@${container}.service`;
}

/** `%i` is the container's name. */
export function unitText({ roots }: Context): string {
  if (/\p{Cc}/u.test(`${roots.root}${roots.runDir}`)) {
    throw new InvalidInputError(
      'cannot write a unit: the path of the state folder or run dir has a control character in it',
    );
  }
  const minict = [realpathSync(process.execPath), '--root', roots.root, '--run-dir', roots.runDir]
    .map(commandWord)
    .join(' ');
  return `${MARK}
[Unit]
Description=minict container %i
ConditionPathExists=${roots.root.replaceAll('%', '%%')}/containers/%i/container.json
RequiresMountsFor=${word(roots.root)}
After=network.target local-fs.target

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=${minict} start --boot %i
ExecStop=${minict} stop --shutdown %i
TimeoutStopSec=60

[Install]
WantedBy=${TARGET}
`;
}

function isOurs(file: string): boolean {
  return readFileSync(file, 'utf8').startsWith(MARK);
}

function refuseOthers(file: string): void {
  if (!existsSync(file) || isOurs(file)) return;
  throw new ConflictError(`cannot write ${file}: it is there, and minict did not make it`, {
    hint: `mv ${file} elsewhere`,
  });
}

/** Those that are to be there after a boot, by their restart policy. */
async function lastingContainers({ roots }: Context): Promise<string[]> {
  const names: string[] = [];
  for (const name of listContainers(roots)) {
    const { restart } = await getContainer(roots, name);
    if (restart !== undefined) names.push(name);
  }
  if (names.length > 0) return names;
  throw new ConflictError('cannot install units: no container has a restart policy', {
    hint: 'minict system install-units NAME…',
  });
}

/** The container's unit where systemd has it enabled; undefined where it has none. */
export function enabledUnit(context: Context, instance: string, name: string): string | undefined {
  const unit = unitName(context, instance, name);
  const link = join(UNIT_DIR, `${TARGET}.wants`, unit);
  return lstatSync(link, { throwIfNoEntry: false }) === undefined ? undefined : unit;
}

/** Where systemd runs it reads its units anew. Throws HostError. */
async function reload(context: Context, dir: string): Promise<void> {
  if (dir !== UNIT_DIR || !existsSync('/run/systemd/system')) return;
  const { exitCode, stderr } = await runTool(['systemctl', 'daemon-reload'], spawnContext(context));
  if (exitCode !== 0) throw new HostError(`cannot have systemd read its units: ${firstLine(stderr)}`);
}

/** Returns the units' names. Throws NotFoundError, ConflictError, HostError. */
export async function installUnits(
  context: Context,
  instance: string,
  wanted: readonly string[],
  dir: string,
): Promise<string[]> {
  for (const name of wanted) await getContainer(context.roots, name);
  const names = wanted.length > 0 ? wanted : await lastingContainers(context);
  const template = resolve(dir, unitName(context, instance, ''));
  refuseOthers(template);
  const wants = join(dir, `${TARGET}.wants`);
  mkdirSync(wants, { recursive: true, mode: 0o755 });
  writeFileSync(`${template}.tmp`, unitText(context), { mode: 0o644 });
  renameSync(`${template}.tmp`, template);
  const units = names.map((name) => unitName(context, instance, name));
  for (const unit of units) {
    const link = join(wants, unit);
    // As systemctl(1) enables it.
    if (lstatSync(link, { throwIfNoEntry: false }) === undefined) symlinkSync(template, link);
  }
  await reload(context, dir);
  return units;
}

/** Whether a unit of the template's is enabled by some target, or has settings of its own. */
function isUsed(dir: string, begin: string): boolean {
  const entries = readdirSync(dir, { withFileTypes: true });
  const folders = entries.filter((entry) => entry.isDirectory() && /\.(wants|requires)$/.test(entry.name));
  const names = [entries.map(({ name }) => name), ...folders.map(({ name }) => readdirSync(join(dir, name)))].flat();
  return names.some((name) => name.startsWith(`${begin}@`) && name !== `${begin}@.service`);
}

/**
 * Of these containers, or of all. The template goes with the last of them, where it is as `installUnits` writes it. Returns the
 * names of those that were there.
 */
export async function removeUnits(
  context: Context,
  instance: string,
  names: readonly string[],
  dir: string,
): Promise<string[]> {
  const template = resolve(dir, unitName(context, instance, ''));
  refuseOthers(template);
  const wants = join(dir, `${TARGET}.wants`);
  const [begin = '', end = ''] = unitName(context, instance, '@').split('@@');
  const all = existsSync(wants)
    ? readdirSync(wants)
        .sort()
        .filter((unit) => unit.startsWith(`${begin}@`) && unit.endsWith(end))
    : [];
  const chosen = names.map((name) => unitName(context, instance, name));
  const units = names.length === 0 ? all : all.filter((unit) => chosen.includes(unit));
  for (const unit of units) {
    const link = join(wants, unit);
    // What leads elsewhere is somebody else's.
    if (lstatSync(link).isSymbolicLink() && readlinkSync(link) === template) rmSync(link);
  }
  const isAsMade = () => existsSync(template) && readFileSync(template, 'utf8') === unitText(context);
  if (names.length === 0 || (isAsMade() && !isUsed(dir, begin))) rmSync(template, { force: true });
  await reload(context, dir);
  return units;
}
