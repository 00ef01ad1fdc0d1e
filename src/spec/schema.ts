/** What state files hold, as zod schemas; the types come from them. Values are loaded by who must check a file, only then. */
import * as z from 'zod/mini';
import { namesTo } from './names-to.ts';

const where = { target: z.string(), readOnly: z.optional(z.boolean()) };

/**
 * A container's files at some time: the layers that they are, the top one first, and the image that they came from. Where a
 * container's files are one tree, the top one is a tree, too, and the rest is what that was made of.
 */
const snapshot = z.object({
  name: z.string(),
  createdAt: z.string(),
  image: z.optional(z.string()),
  imageId: z.optional(z.string()),
  lower: z.array(z.string()).check(z.minLength(1)),
});

const nicParts = {
  /** As it is called inside. */
  name: z.string(),
  /** With their lengths. */
  addresses: z.array(z.string()),
  /** Next hops of its default routes, one of a family at most. */
  gateways: z.array(z.string()),
  mac: z.string(),
  mtuBytes: z.optional(z.number()),
  /** Nobody is on its wire but containers: its IPv6 link-local address is there at once, without a look for duplicates. */
  noStrangers: z.optional(z.literal(true)),
  /** Taken down by hand (`link down`): a start leaves it so. */
  down: z.optional(z.literal(true)),
};

/** An interface of a container: all that its driver has to know to make it. */
const nic = z.discriminatedUnion('kind', [
  /** A veth pair whose end on the host is a port of a bridge; `tunnel` is the port that leads to other hosts. */
  z.object({
    kind: z.literal('veth'),
    network: z.string(),
    bridge: z.string(),
    tunnel: z.optional(z.string()),
    hostLink: z.string(),
    /** Of the end on the host, where that is not the interface's: a bridge of the host's gets the least of its ports. */
    hostMtuBytes: z.optional(z.number()),
    ...nicParts,
  }),
  /** A child of an interface of the host's. It has no end there; `hostLink` is its name while it is made. */
  z.object({
    kind: z.literal('macvlan'),
    network: z.string(),
    uplink: z.string(),
    mode: z.enum(['bridge', 'private', 'vepa']),
    hostLink: z.string(),
    ...nicParts,
  }),
  /** A veth pair whose end on the host is a port of an Open vSwitch bridge. */
  z.object({
    kind: z.literal('ovs'),
    network: z.string(),
    bridge: z.string(),
    datapath: z.enum(['system', 'netdev']),
    hostLink: z.string(),
    ...nicParts,
  }),
  /** One end of a veth pair whose other end is in container `peer`; on the host, where that is not there, as `cable`. */
  z.object({ kind: z.literal('p2p'), peer: z.string(), cable: z.string(), ...nicParts }),
  /** The host's interface `device`, given back as it was. */
  z.object({
    kind: z.literal('phys'),
    device: z.string(),
    was: z.object({
      isUp: z.boolean(),
      mac: z.string(),
      mtuBytes: z.number(),
      /** By path below /proc/sys. */
      sysctls: z.optional(z.record(z.string(), z.string())),
    }),
    ...nicParts,
  }),
]);

const route = z.object({ to: z.string(), via: z.optional(z.string()), dev: z.optional(z.string()) });

/** A port of the host that leads to one of a container. */
const port = z.object({
  /** The host's address; `0.0.0.0` and `::` are all of their family. */
  ip: z.string(),
  port: z.number(),
  protocol: z.enum(['tcp', 'udp']),
  /** The container's address and port. */
  address: z.string(),
  to: z.number(),
});

const io = z.object({
  readBps: z.optional(z.number()),
  writeBps: z.optional(z.number()),
  readIops: z.optional(z.number()),
  writeIops: z.optional(z.number()),
});

const limits = z.object({
  memoryBytes: z.optional(z.number()),
  /** Memory and swap together; -1: no limit. Absent: as much swap as memory. */
  memorySwapBytes: z.optional(z.number()),
  /** Of the time of a CPU: 0.5 is half of one. */
  cpus: z.optional(z.number()),
  cpuShares: z.optional(z.number()),
  cpusetCpus: z.optional(z.string()),
  pids: z.optional(z.number()),
  /** By the device's path: its number may be another one after a reboot. */
  io: z.optional(z.record(z.string(), io)),
});

const extraHosts = z.array(z.object({ name: z.string(), address: z.string() }));

/** container.json: all of a container that outlasts a reboot. */
export const container = z.object({
  version: z.literal(1),
  name: z.string(),
  hostname: z.string(),
  createdAt: z.string(),
  /** Name of the image, or the real path of a directory used as one. */
  image: z.optional(z.string()),
  /** Digest of the image's manifest, for one of the store. */
  imageId: z.optional(z.string()),
  /** Where its files are; absent for `overlay`, and with `inPlace`. */
  storage: z.optional(z.enum(['overlay', 'btrfs', 'copy'])),
  /** Read-only layers that its files are made of, the top one first; absent with `inPlace`. */
  lower: z.optional(z.array(z.string()).check(z.minLength(1))),
  /** A directory that is written in place (`--rootfs`). */
  inPlace: z.optional(z.string()),
  /** The root file system is mounted read-only (`--read-only`). */
  readOnly: z.optional(z.boolean()),
  /** `-v` and `--tmpfs`; a container's own (anonymous) volume has neither name nor source, and is known by its place here. */
  volumes: z.optional(
    z.array(
      z.discriminatedUnion('type', [
        z.object({ type: z.literal('bind'), source: z.string(), ...where }),
        z.object({ type: z.literal('volume'), name: z.optional(z.string()), ...where }),
        z.object({ type: z.literal('tmpfs'), target: z.string(), options: z.string() }),
      ]),
    ),
  ),
  mounts: z.enum(['private', 'host']),
  /** What starts PID 1 and programs; absent for `chroot`. */
  runtime: z.optional(z.enum(['crun', 'runc', 'nspawn'])),
  /** Its main command is the init of its image. */
  boot: z.optional(z.literal(true)),
  /** `hardened`; absent for `lab`. */
  profile: z.optional(z.literal('hardened')),
  capAdd: z.optional(z.array(z.string())),
  capDrop: z.optional(z.array(z.string())),
  /** `unconfined`, or a filter as JSON, in place of the profile's. */
  seccomp: z.optional(z.string()),
  noNewPrivileges: z.optional(z.boolean()),
  /** What is its own, where the host's is what all have that say nothing. */
  isolated: z.optional(z.array(z.enum(['pid', 'ipc', 'cgroupns', 'dev', 'sys', 'timens']))),
  /** A user namespace: its 0 to 65535 are those from `hostId` on the host, no other container's here; 0 where they are yet to be chosen. */
  userns: z.optional(z.object({ hostId: z.number() })),
  nics: z.array(nic),
  /** It forwards, IPv4 and IPv6 (`--router`). */
  router: z.optional(z.literal(true)),
  /** All its addresses are paths of Multipath TCP (`--mptcp`). */
  mptcp: z.optional(z.literal(true)),
  /** Static routes: to a subnet, by a next hop, an interface, or both. */
  routes: z.optional(z.array(route)),
  /** Settings of its network namespace, by the names that sysctl(8) has for them. */
  sysctls: z.optional(z.record(z.string(), z.string())),
  /** Published ones (`-p`): its own, as its addresses are, also while it is stopped. */
  ports: z.optional(z.array(port)),
  /** It has a hosts file of its own, whatever its networks are now. */
  ownHosts: z.optional(z.literal(true)),
  /** Of its resolv.conf, what is not the host's; `.` is no search domain. */
  dns: z.optional(
    z.object({
      servers: z.optional(z.array(z.string())),
      search: z.optional(z.array(z.string())),
      options: z.optional(z.array(z.string())),
    }),
  ),
  /** Lines of its hosts file that are its own; the address may be `host-gateway`. */
  extraHosts: z.optional(extraHosts),
  /** Of all its processes together, by their cgroup; what is not there has no limit. */
  limits: z.optional(limits),
  /** Of each of its processes, as getrlimit(2) names them; -1 is unlimited. */
  ulimits: z.optional(z.record(z.string(), z.object({ soft: z.number(), hard: z.number() }))),
  /** How much of what its main command writes is kept, and in which form; absent for the default. */
  log: z.optional(
    z.object({
      maxBytes: z.optional(z.number()),
      maxFiles: z.optional(z.number()),
      timestamps: z.optional(z.literal(true)),
    }),
  ),
  /** How it is asked whether it works. */
  health: z.optional(
    z.object({ command: z.string(), intervalMs: z.number(), timeoutMs: z.number(), retries: z.number() }),
  ),
  /** When its main command is started again; absent for never. */
  restart: z.optional(
    z.object({ policy: z.enum(['on-failure', 'always', 'unless-stopped']), max: z.optional(z.number()) }),
  ),
  /** What is written into it need not outlast a crash of the host: `run --rm`. */
  volatile: z.optional(z.literal(true)),
  /** It goes with its main command: `run -d --rm`. */
  autoRemove: z.optional(z.literal(true)),
  services: z.array(z.string()),
  stopCommands: z.array(z.string()),
  command: z.array(z.string()),
  env: namesTo(z.string(), z.string()),
  /** `user[:group]` of the main command and of exec, resolved inside. */
  user: z.optional(z.string()),
  workdir: z.optional(z.string()),
  /** Name or number of what a stop sends, in place of TERM. */
  stopSignal: z.optional(z.string()),
  labels: z.optional(namesTo(z.string(), z.string())),
  /** `80/tcp`: what the image says it listens on. */
  exposedPorts: z.optional(z.array(z.string())),
  snapshots: z.optional(z.array(snapshot)),
  /**
   * What is being done with its upper directory: it becomes a layer by a rename, is copied to one, or is given up. Of a tree:
   * it is copied, or another one takes its place, and it is kept where that is said. Written before and gone after, so that
   * a killed minict's work can be finished or taken back.
   */
  pending: z.optional(
    z.union([
      z.object({ kind: z.enum(['freeze', 'copy']), layer: z.string() }),
      z.object({ kind: z.literal('discard') }),
      z.object({ kind: z.literal('adopt'), layer: z.string(), keep: z.optional(z.string()) }),
    ]),
  ),
});

/** A network's file: what it is, and who is in it. */
export const network = z.object({
  version: z.literal(1),
  name: z.string(),
  driver: z.enum(['bridge', 'macvlan', 'vxlan', 'ovs']),
  /** The interface on the host that is the network. */
  link: z.string(),
  /** Made by the first container that asks for none, and gone with a prune. */
  isDefault: z.optional(z.literal(true)),
  /** The link is another's: it is used, and never changed or removed. */
  foreign: z.optional(z.literal(true)),
  /** Of minict's own link. */
  mac: z.optional(z.string()),
  mtuBytes: z.optional(z.number()),
  /** The host's interface that is a port of minict's link. */
  uplink: z.optional(z.object({ link: z.string(), wasUp: z.boolean() })),
  macvlan: z.optional(z.object({ mode: z.enum(['bridge', 'private', 'vepa']) })),
  /** A port of the link, which is called so, leads to other hosts. Without remotes a control plane says where to. */
  vxlan: z.optional(
    z.object({
      link: z.string(),
      vni: z.number(),
      local: z.string(),
      remotes: z.array(z.string()),
      dstport: z.number(),
      underlay: z.optional(z.string()),
    }),
  ),
  ovs: z.optional(z.object({ datapath: z.enum(['system', 'netdev']) })),
  /** The host has no address in it, and its members no default route. */
  internal: z.optional(z.literal(true)),
  /** What leaves it for elsewhere has the host's address. */
  nat: z.optional(z.literal(true)),
  /** One of a family at most; none: nobody gets an address unasked. */
  subnets: z.array(z.object({ subnet: z.string(), gateway: z.optional(z.string()) })),
  /** Taps of virtual machines, by the interface's name on the host. */
  taps: z.optional(
    z.record(
      z.string(),
      /** Addresses with their lengths. */
      z.object({ addresses: z.array(z.string()), mac: z.string(), user: z.optional(z.string()) }),
    ),
  ),
  /** By the container's name, in the order in which they came. */
  members: z.record(
    z.string(),
    z.object({
      hostname: z.string(),
      /** Addresses of its interfaces here, without their lengths. */
      nics: z.record(z.string(), z.array(z.string())),
      /** Their MAC addresses. */
      macs: z.optional(z.record(z.string(), z.string())),
      /** All its networks, where it has a hosts file of its own. */
      networks: z.optional(z.array(z.string())),
      extraHosts: z.optional(extraHosts),
      /** What it publishes, whichever of its networks that leads through. */
      ports: z.optional(z.array(port)),
    }),
  ),
});

/** index.json of the image store: an OCI image index (image-spec, image-index.md) with a version of ours. */
export const images = z.object({
  version: z.literal(1),
  schemaVersion: z.literal(2),
  mediaType: z.string(),
  manifests: z.array(
    z.object({
      mediaType: z.string(),
      digest: z.string().check(z.regex(/^sha256:[0-9a-f]{64}$/)),
      size: z.number(),
      annotations: z.optional(z.record(z.string(), z.string())),
    }),
  ),
});

/** volume.json: a named volume; its files are beside it, in `data`. */
export const volume = z.object({
  version: z.literal(1),
  name: z.string(),
  createdAt: z.string(),
});
