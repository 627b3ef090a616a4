// What a page costs without a client.
export const load = () => () => ({ view() {}, track() {} });
