import htm from 'htm';
import { h } from 'preact';

/** Markup as tagged templates. */
export const html = htm.bind(h);
