// Server-sent events out of a stream of text (HTML Living Standard §9.2.6). Pure.

/** @typedef {{event: string, data: string, id: string | undefined}} Message */

export class Parser {
  /** What is left of a line that has not ended. */
  #rest = '';
  /** Up to here the rest has no end of a line. */
  #searched = 0;
  #event = '';
  /** @type {string[]} */
  #data = [];
  #isFirst = true;

  /** The id to resume after; kept by events without data too. @type {string | undefined} */
  lastId = undefined;
  /** How long the server wishes to be left alone before a next try. @type {number | undefined} */
  retryMs = undefined;

  /** The messages that a piece of the stream completes. @param {string} text @returns {Message[]} */
  push(text) {
    if (this.#isFirst && text !== '') {
      this.#isFirst = false;
      text = text.replace(/^\ufeff/, '');
    }
    this.#rest += text;
    const messages = [];
    const ends = /\r\n|\n|\r/g;
    ends.lastIndex = this.#searched;
    let begin = 0;
    for (let end = ends.exec(this.#rest); end; end = ends.exec(this.#rest)) {
      // A \r at the very end may be the first half of \r\n.
      if (end[0] === '\r' && ends.lastIndex === this.#rest.length) break;
      const message = this.#line(this.#rest.slice(begin, end.index));
      if (message) messages.push(message);
      begin = ends.lastIndex;
    }
    this.#rest = this.#rest.slice(begin);
    this.#searched = Math.max(0, this.#rest.length - 1);
    return messages;
  }

  #line(line) {
    if (line === '') return this.#dispatch();
    const colon = line.indexOf(':');
    if (colon === 0) return null;
    const name = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? '' : line.slice(colon + 1).replace(/^ /, '');
    if (name === 'data') this.#data.push(value);
    else if (name === 'event') this.#event = value;
    else if (name === 'id' && !value.includes('\0')) this.lastId = value;
    else if (name === 'retry' && /^\d+$/.test(value)) this.retryMs = Number(value);
    return null;
  }

  #dispatch() {
    const [event, data] = [this.#event || 'message', this.#data];
    [this.#event, this.#data] = ['', []];
    return data.length > 0 ? { event, data: data.join('\n'), id: this.lastId } : null;
  }
}
