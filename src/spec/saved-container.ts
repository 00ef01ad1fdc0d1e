/**
 * What a saved container says of itself, the first member of its tar: settings, and of which parts its files are. It comes
 * from elsewhere: nothing of it is a path, and all of it is checked here. Pure.
 */
import * as z from 'zod/mini';
import { InvalidInputError } from '../errors.ts';
import { parseAddress, parseInterfaceAddress, parseIp, parseMtuBytes } from './address.ts';
import { checkDns, checkExtraHost, parseNameServer, parseResolverOption, parseSearchDomain } from './dns.ts';
import { parseHealthRetries, parseHealthSpan } from './health.ts';
import { checkLimits } from './limits.ts';
import { parseLogBytes, parseLogFiles } from './log.ts';
import {
  parseContainerName,
  parseHostname,
  parseMac,
  parseNetworkName,
  parseNicName,
  parseSnapshotName,
} from './name.ts';
import { namesTo } from './names-to.ts';
import { formatRestart, parseRestart } from './restart.ts';
import { checkRoute, parseSysctlValue, sysctlPath } from './routing.ts';
import { parseCapability, parseSeccomp } from './security.ts';
import { parseSignal } from './signal.ts';
import { checkVolumes, type VolumeSpec } from './volume.ts';

export const SAVED_VERSION = 1;

/** The members of its tar; those of an image's archive (image-spec, image-layout.md) have the names that they have there. */
export const MANIFEST_NAME = 'minict-container.json';
export const UPPER = 'upper.tar';
export const LAYOUT = { marker: 'oci-layout', index: 'index.json' } as const;

/** A layer of a container's own, a document or layer of an image, or the files of a volume by its place among them. */
export type PartId =
  | { readonly kind: 'layer' | 'blob'; readonly digest: string }
  | { readonly kind: 'volume'; readonly index: number };

export function partName(id: PartId): string {
  if (id.kind === 'volume') return `volumes/${id.index}.tar`;
  const hex = id.digest.slice('sha256:'.length);
  return id.kind === 'layer' ? `layers/${hex}.tar` : `blobs/sha256/${hex}`;
}

/** Undefined for a name that partName never makes. */
export function parsePartName(name: string): PartId | undefined {
  const forms = /^(?:layers\/([0-9a-f]{64})\.tar|blobs\/sha256\/([0-9a-f]{64})|volumes\/(0|[1-9]\d{0,3})\.tar)$/;
  const [, layer, blob, index] = forms.exec(name) ?? [];
  if (index !== undefined) return { kind: 'volume', index: Number(index) };
  if (layer !== undefined) return { kind: 'layer', digest: `sha256:${layer}` };
  return blob === undefined ? undefined : { kind: 'blob', digest: `sha256:${blob}` };
}

/** What a parser of the vocabulary takes; its message where it does not. */
function fits<T>(parse: (text: string) => unknown) {
  return z.check<T>(({ value, issues }) => addIssue(issues, value, () => parse(String(value))));
}

function addIssue(issues: z.core.ParsePayload['issues'], input: unknown, check: () => unknown): void {
  try {
    check();
  } catch (error) {
    issues.push({ code: 'custom', input, message: (error as Error).message });
  }
}

/** Of what stands as a number in the document, and as text in arguments. */
const parsedNumber = (parse: (text: string) => unknown) => z.number().check(fits(parse));
const parsed = (parse: (text: string) => unknown) => z.string().check(fits(parse));

/** Of programs: execve(2) takes no NUL. */
const text = z.string().check(z.regex(/^[^\0]*$/, 'a NUL in it'));
const digest = z.string().check(z.regex(/^sha256:[0-9a-f]{64}$/, 'not a sha256 digest'));
const time = z.string().check(z.regex(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$/, 'no time'));

/** The layers that no image has, the top one first, and the image below them. */
const files = {
  image: z.optional(z.string()),
  imageId: z.optional(digest),
  layers: z.array(digest),
};

const portNumber = z.number().check(z.int(), z.gte(1), z.lte(65535));

const io = z.strictObject({
  readBps: z.optional(z.number()),
  writeBps: z.optional(z.number()),
  readIops: z.optional(z.number()),
  writeIops: z.optional(z.number()),
});

/** -1 is unlimited. */
const rlimit = z.number().check(z.int(), z.gte(-1));

const where = { target: z.string(), readOnly: z.optional(z.boolean()) };
const volume = z.discriminatedUnion('type', [
  z.strictObject({ type: z.literal('bind'), source: z.string(), ...where }),
  /** `files` is the digest of its tar, where that comes along. */
  z.strictObject({ type: z.literal('volume'), name: z.optional(z.string()), ...where, files: z.optional(digest) }),
  z.strictObject({ type: z.literal('tmpfs'), target: z.string(), options: z.string() }),
]);

const settings = {
  hostname: parsed(parseHostname),
  createdAt: time,
  mounts: z.enum(['private', 'host']),
  runtime: z.optional(z.enum(['crun', 'runc', 'nspawn'])),
  boot: z.optional(z.literal(true)),
  profile: z.optional(z.literal('hardened')),
  capAdd: z.optional(z.array(parsed(parseCapability))),
  capDrop: z.optional(z.array(parsed(parseCapability))),
  seccomp: z.optional(parsed((text) => text === 'unconfined' || parseSeccomp(text, 'its seccomp filter'))),
  noNewPrivileges: z.optional(z.boolean()),
  isolated: z.optional(z.array(z.enum(['pid', 'ipc', 'cgroupns', 'dev', 'sys', 'timens']))),
  userns: z.optional(z.strictObject({ hostId: z.literal(0) })),
  readOnly: z.optional(z.boolean()),
  log: z.optional(
    z.strictObject({
      maxBytes: z.optional(parsedNumber(parseLogBytes)),
      maxFiles: z.optional(parsedNumber(parseLogFiles)),
      timestamps: z.optional(z.literal(true)),
    }),
  ),
  health: z.optional(
    z.strictObject({
      command: text,
      intervalMs: z.number().check(fits((ms: string) => parseHealthSpan('--health-interval')(`${ms}ms`))),
      timeoutMs: z.number().check(fits((ms: string) => parseHealthSpan('--health-timeout')(`${ms}ms`))),
      retries: parsedNumber(parseHealthRetries),
    }),
  ),
  restart: z.optional(
    z
      .strictObject({ policy: z.enum(['on-failure', 'always', 'unless-stopped']), max: z.optional(z.number()) })
      .check(({ value, issues }) => addIssue(issues, value, () => parseRestart(formatRestart(value)))),
  ),
  services: z.array(text),
  stopCommands: z.array(text),
  command: z.array(text),
  env: namesTo(z.string().check(z.regex(/^[^\s=\0]+$/, 'no name of a variable')), text),
  user: z.optional(text),
  workdir: z.optional(text),
  stopSignal: z.optional(parsed(parseSignal)),
  labels: z.optional(namesTo(text, text)),
  exposedPorts: z.optional(z.array(text)),
  router: z.optional(z.literal(true)),
  mptcp: z.optional(z.literal(true)),
  routes: z.optional(
    z.array(
      z
        .strictObject({ to: z.string(), via: z.optional(z.string()), dev: z.optional(z.string()) })
        .check(({ value, issues }) => addIssue(issues, value, () => checkRoute(value))),
    ),
  ),
  sysctls: z.optional(z.record(parsed(sysctlPath), parsed(parseSysctlValue))),
  dns: z.optional(
    z
      .strictObject({
        servers: z.optional(z.array(parsed(parseNameServer))),
        search: z.optional(z.array(parsed(parseSearchDomain))),
        options: z.optional(z.array(parsed(parseResolverOption))),
      })
      .check(({ value, issues }) => addIssue(issues, value, () => checkDns(value))),
  ),
  extraHosts: z.optional(
    z.array(
      z
        .strictObject({ name: z.string(), address: z.string() })
        .check(({ value, issues }) => addIssue(issues, value, () => checkExtraHost(value))),
    ),
  ),
  limits: z.optional(
    z.strictObject({
      memoryBytes: z.optional(z.number()),
      memorySwapBytes: z.optional(z.number()),
      cpus: z.optional(z.number()),
      cpuShares: z.optional(z.number()),
      cpusetCpus: z.optional(z.string()),
      pids: z.optional(z.number()),
      io: z.optional(z.record(z.string().check(z.regex(/^\/[^\0]+$/, 'no path of a device')), io)),
    }),
  ),
  ulimits: z.optional(z.record(z.string(), z.strictObject({ soft: rlimit, hard: rlimit }))),
};

/** Beside addresses with their lengths. */
const nicParts = {
  name: parsed(parseNicName),
  /** Only where they are not the network's own; the next likewise. */
  gateways: z.optional(z.array(parsed(parseIp))),
  mac: z.optional(parsed(parseMac)),
  mtuBytes: z.optional(z.number().check(fits(parseMtuBytes))),
};

const savedContainer = z.strictObject({
  version: z.literal(SAVED_VERSION),
  name: parsed(parseContainerName),
  ...settings,
  ...files,
  /** What it wrote since its last layer. */
  upper: z.optional(digest),
  nics: z.array(
    z.discriminatedUnion('kind', [
      z.strictObject({
        kind: z.optional(z.undefined()),
        network: parsed(parseNetworkName),
        addresses: z.array(parsed(parseAddress)),
        ...nicParts,
      }),
      /** The end of a cable. */
      z.strictObject({
        kind: z.literal('p2p'),
        peer: parsed(parseContainerName),
        addresses: z.array(parsed(parseInterfaceAddress)),
        ...nicParts,
      }),
    ]),
  ),
  ports: z.optional(
    z.array(
      z.strictObject({
        ip: parsed(parseIp),
        port: portNumber,
        protocol: z.enum(['tcp', 'udp']),
        to: portNumber,
      }),
    ),
  ),
  volumes: z.array(volume),
  snapshots: z.array(z.strictObject({ name: parsed(parseSnapshotName), createdAt: time, ...files })),
});
export type SavedContainer = z.infer<typeof savedContainer>;
export type SavedNic = SavedContainer['nics'][number];

/** As container.json has them. */
export function volumesOf({ volumes }: SavedContainer): VolumeSpec[] {
  return volumes.map((each) => {
    if (each.type !== 'volume') return each;
    const { files: _, ...rest } = each;
    return rest;
  });
}

function oddity(saved: SavedContainer): string | undefined {
  const { layers, imageId, snapshots } = saved;
  try {
    checkVolumes(volumesOf(saved));
    checkLimits(saved);
  } catch (error) {
    return (error as Error).message;
  }
  if (saved.boot && saved.runtime !== 'nspawn') return 'boot: by nspawn alone';
  const all = [{ layers, imageId }, ...snapshots];
  if (all.some((files) => files.layers.length === 0 && files.imageId === undefined)) return 'files of no layer';
  const names = snapshots.map(({ name }) => name);
  return new Set(names).size < names.length ? 'two snapshots of one name' : undefined;
}

function causeOf(issue: z.core.$ZodIssue): string {
  if (issue.code === 'unrecognized_keys') return `this minict knows no ${[...issue.path, ...issue.keys].join('.')}`;
  const { message } = issue.code === 'invalid_key' ? (issue.issues[0] ?? issue) : issue;
  return `${issue.path.join('.')}: ${message}`;
}

/** `verb` is for messages: `load web1.tar`. Throws InvalidInputError. */
export function parseSavedContainer(content: string, verb: string): SavedContainer {
  let value: { version?: unknown } | null;
  try {
    value = JSON.parse(content);
  } catch {
    throw new InvalidInputError(`cannot ${verb}: what it says of the container is no JSON`);
  }
  const version = value?.version;
  if (typeof version === 'number' && version > SAVED_VERSION) {
    throw new InvalidInputError(`cannot ${verb}: it was saved by a newer minict`, { hint: 'update minict' });
  }
  const result = savedContainer.safeParse(value);
  if (!result.success) {
    throw new InvalidInputError(`cannot ${verb}: ${causeOf(result.error.issues[0] as z.core.$ZodIssue)}`);
  }
  const cause = oddity(result.data);
  if (cause !== undefined) throw new InvalidInputError(`cannot ${verb}: ${cause}`);
  return result.data;
}
