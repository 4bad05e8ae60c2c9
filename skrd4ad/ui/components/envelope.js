// Reads what envelope.py packs: a length, a JSON header, and blobs by name.

function unpack(bytes) {
  const start = 4 + new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, true);
  const head = JSON.parse(new TextDecoder().decode(bytes.subarray(4, start)));
  head.blob = (name) => { // a copy, because a Float32Array must start at a multiple of four bytes
    const [offset, length] = head.blobs[name];
    return bytes.slice(start + offset, start + offset + length);
  };
  return head;
}
