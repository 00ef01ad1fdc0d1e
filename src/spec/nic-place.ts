/** `NAME:NIC`, a network interface of a container, as the command line has it. Pure. */
import { InvalidInputError } from '../errors.ts';
import { parseContainerName } from './name.ts';

export interface NicPlace {
  readonly container: string;
  readonly nic: string;
}

const NIC_BYTES = 15;

/** As the kernel's dev_valid_name() has it. Throws InvalidInputError. */
export function parseInterfaceName(text: string): string {
  const refuse = (cause: string) => {
    return new InvalidInputError(`cannot use interface name ${JSON.stringify(text.slice(0, 40))}: ${cause}`, {
      hint: 'for example eth0',
    });
  };
  if (Buffer.byteLength(text) > NIC_BYTES) throw refuse(`longer than ${NIC_BYTES} bytes`);
  // A leading dash would be an option to the tools.
  if (!/^[^\s/:\p{Cc}-][^\s/:\p{Cc}]*$/u.test(text) || text === '.' || text === '..') throw refuse('not a valid name');
  return text;
}

/** `web1:eth0`; without a NIC, all of the container's. Throws InvalidInputError. */
export function parseNicOrAll(text: string): { container: string; nic: string | undefined } {
  const colon = text.indexOf(':');
  if (colon < 0) return { container: parseContainerName(text), nic: undefined };
  return { container: parseContainerName(text.slice(0, colon)), nic: parseInterfaceName(text.slice(colon + 1)) };
}

/** Throws InvalidInputError. */
export function parseNicPlace(text: string): NicPlace {
  const { container, nic } = parseNicOrAll(text);
  if (nic !== undefined) return { container, nic };
  throw new InvalidInputError(`cannot use ${container} for a network interface: it names none`, {
    hint: `${container}:eth0, by its name inside`,
  });
}
