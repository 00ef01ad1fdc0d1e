/** Names of containers, of their snapshots, and of interfaces. */
import { InvalidInputError } from '../errors.ts';

const CONTAINER_NAME = /^[A-Za-z0-9][A-Za-z0-9_.-]*$/;
const INTERFACE_NAME_BYTES = 15;

/** docker's grammar, 63 bytes at most (a host name label). Throws InvalidInputError. */
export function parseContainerName(text: string): string {
  if (text.length > 63) {
    throw new InvalidInputError(`cannot use container name '${text.slice(0, 20)}…': longer than 63 characters`);
  }
  if (!CONTAINER_NAME.test(text)) {
    const hint = text.includes(':')
      ? 'a name has no colon; an image is named by --image'
      : 'letters, digits, _ . - and first a letter or digit';
    throw new InvalidInputError(`cannot use container name ${JSON.stringify(text)}: not a valid name`, { hint });
  }
  return text;
}

/** Of a container that is yet to come: `minict why` calls the machine itself `host`. Throws InvalidInputError. */
export function parseNewContainerName(text: string): string {
  if (parseContainerName(text) !== 'host') return text;
  throw new InvalidInputError('cannot use container name "host": a word of its own', {
    hint: 'another name; minict why calls the machine itself so',
  });
}

/**
 * Name of a veth's host end: `NAME-IF` where that fits the kernel's 15 bytes, a stable hash otherwise. systemd-networkd
 * claims links that begin with ve- or vb-, so those are hashed too.
 */
export function hostLinkName(instance: string, container: string, nic: string): string {
  const plain = `${container}-${nic}`;
  if (plain.length <= INTERFACE_NAME_BYTES && !/^v[eb]-/.test(plain) && !plain.startsWith('.')) return plain;
  const hash = sha256(`${instance}/${container}/${nic}`);
  return `mct${hash.slice(0, 12)}`;
}

/** Name of the loose end of the `number`-th cable between two containers, the same for both. */
export function cableName(instance: string, containers: readonly [string, string], number: number): string {
  return `mct${sha256(`${instance}/cable/${[...containers].sort().join('/')}/${number}`).slice(0, 12)}`;
}

/** Name of a network card while it changes its namespace: one that nobody has. */
export function passingName(instance: string, container: string, nic: string): string {
  return `mct${sha256(`${instance}/phys/${container}/${nic}`).slice(0, 12)}`;
}

/** Name of a network's interface on the host: its own where that fits, a stable hash otherwise. */
export function networkLinkName(instance: string, network: string): string {
  if (network.length <= INTERFACE_NAME_BYTES && !/^v[eb]-/.test(network)) return network;
  return `mct${sha256(`${instance}/network/${network}`).slice(0, 12)}`;
}

/** Of an interface inside a container. Throws InvalidInputError. */
export function parseNicName(text: string): string {
  // `all` and `default` are folders of the kernel's network settings.
  const isReserved = ['lo', 'all', 'default'].includes(text);
  if (/^[A-Za-z0-9][A-Za-z0-9_.-]{0,14}$/.test(text) && !isReserved) return text;
  const cause = isReserved ? 'a word of its own' : 'not a valid name';
  throw new InvalidInputError(`cannot use interface name ${JSON.stringify(text)}: ${cause}`, {
    hint: 'for example eth0: letters, digits, _ . - and 15 bytes at most',
  });
}

/** Of an interface of the host: what the kernel takes, and `ip -batch` reads as one word. Throws InvalidInputError. */
export function parseHostInterface(text: string): string {
  if (/^[A-Za-z0-9_@.+-]{1,15}$/.test(text) && !/^(-|\.\.?$)/.test(text)) return text;
  throw new InvalidInputError(`cannot use interface ${JSON.stringify(text)}: not the name of one`, { hint: 'ip link' });
}

function networkHint(text: string): string {
  if (text === 'none') return '--no-network';
  if (text === 'host') return 'a container has a network of its own always; -p 0.0.0.0:PORT:PORT leads into it';
  if (text === 'bridge' || text === 'default') return 'leave it out, for the default network, which is minict0';
  return 'letters, digits, _ . - and first a letter or digit, 63 at most';
}

/** docker's grammar, and its reserved words. Throws InvalidInputError. */
export function parseNetworkName(text: string): string {
  const isReserved = ['none', 'host', 'default', 'bridge', 'all'].includes(text);
  if (CONTAINER_NAME.test(text) && text.length <= 63 && !isReserved) return text;
  throw new InvalidInputError(
    `cannot use network name ${JSON.stringify(text)}: ${isReserved ? 'a word of its own' : 'not a valid name'}`,
    { hint: networkHint(text) },
  );
}

/** Bun's own hash: importing node:crypto costs 2 ms. */
function sha256(text: string): string {
  return new Bun.CryptoHasher('sha256').update(text).digest('hex');
}

/** A locally administered unicast MAC address, always the same for the same instance, owner (a network, a container) and NIC. */
export function derivedMac(instance: string, owner: string, nic: string): string {
  const digits = sha256(`mac/${instance}/${owner}/${nic}`);
  return ['02', ...[0, 2, 4, 6, 8].map((at) => digits.slice(at, at + 2))].join(':');
}

/** Of a host's end: higher than all others of the bridge, which otherwise takes the lowest of its ports for its own. */
export function hostEndMac(instance: string, container: string, nic: string): string {
  return `fe${derivedMac(instance, container, `${nic}/host`).slice(2)}`;
}

/** A unicast MAC address, `aa:bb:cc:dd:ee:ff`; in lower case, as the kernel shows it. Throws InvalidInputError. */
export function parseMac(text: string): string {
  if (/^[0-9a-f][02468ace](:[0-9a-f]{2}){5}$/i.test(text) && text !== '00:00:00:00:00:00') return text.toLowerCase();
  throw new InvalidInputError(`cannot use MAC address '${text}': not a unicast MAC address`, {
    hint: 'for example 02:00:00:00:00:11',
  });
}

/** Throws InvalidInputError. */
export function parseHostname(text: string): string {
  if (/^[A-Za-z0-9][A-Za-z0-9.-]{0,62}$/.test(text)) return text;
  throw new InvalidInputError(`cannot use host name ${JSON.stringify(text)}: not a host name`, {
    hint: 'letters, digits, - and dots, 63 at most',
  });
}

/** Throws InvalidInputError. */
export function parseSnapshotName(text: string): string {
  if (/^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$/.test(text)) return text;
  throw new InvalidInputError(`cannot use snapshot name ${JSON.stringify(text)}: not a valid name`, {
    hint: 'letters, digits, _ . - and first a letter or digit',
  });
}
