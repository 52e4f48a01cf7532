@0xc3f1a95d7be20864;
# The wire format of the object storage: one StoragePacket is the first frame of a ZeroMQ message; each body that carries a
# payload owns one of the frames behind it, in order. There are no sessions: every request can be repeated, and the answer
# goes where the last one came from.

struct StoragePacket {
  bodies @0 :List(StorageBody);
}

struct StorageBody {
  union {
    storageHello    @0  :StorageHello;
    storageWelcome  @1  :StorageWelcome;
    storageRefused  @2  :StorageRefused;

    announceObjects @3  :Keys;
    deleteObjects   @4  :Keys;
    deleteOwner     @5  :DeleteOwner;
    done            @6  :Request;

    awaitObject     @7  :AwaitObject;
    cancelAwait     @8  :Request;
    objectFound     @9  :ObjectFound;
    objectMissing   @10 :Request;
    readChunk       @11 :ReadChunk;
    objectChunk     @12 :Request;

    beginUpload     @13 :BeginUpload;
    uploadChunk     @14 :UploadChunk;
    uploadAt        @15 :UploadAt;
    uploadUnknown   @16 :Request;
    abandonUpload   @17 :AbandonUpload;
    storageFailed   @18 :StorageFailed;

    askStatistics   @19 :Request;
    statistics      @20 :Statistics;
  }
}

struct Request { requestId @0 :UInt64; }     # minted by the asking side; the answer carries it

struct StorageHello {
  product         @0 :Text;
  protocolVersion @1 :UInt32;
  name            @2 :Text;
}

struct StorageWelcome {
  instanceId @0 :Data;          # 16 bytes, another one after every start
  directory  @1 :Text;          # name of the folder with the objects, 32 hexadecimal digits
  nonce      @2 :Data;          # content of the file "nonce" in it: who can read that shares the machine
}

struct StorageRefused { reason @0 :Text; }

struct Keys {
  requestId @0 :UInt64;
  keys      @1 :List(Data);     # 1 to 64 bytes each
}

struct DeleteOwner {
  requestId @0 :UInt64;
  owner     @1 :Data;           # 1 to 64 bytes
}

struct AwaitObject {
  requestId @0 :UInt64;
  key       @1 :Data;
  wait      @2 :Bool;           # false: answer at once, found or missing
}

struct ObjectFound {
  requestId @0 :UInt64;
  size      @1 :UInt64;         # bytes
  version   @2 :UInt64;         # of the content: another one when the key is stored again
}

struct ReadChunk {
  requestId @0 :UInt64;
  key       @1 :Data;
  version   @2 :UInt64;
  offset    @3 :UInt64;
  length    @4 :UInt32;         # at most 1 MiB
}

struct BeginUpload {
  requestId @0 :UInt64;
  uploadId  @1 :Data;           # 16 bytes
  key       @2 :Data;
  owner     @3 :Data;
  size      @4 :UInt64;         # bytes
}

struct UploadChunk {
  requestId @0 :UInt64;
  uploadId  @1 :Data;
  offset    @2 :UInt64;         # where the payload belongs: the position before it
}

struct UploadAt {
  requestId @0 :UInt64;
  position  @1 :UInt64;         # bytes received in order; the whole size: the object is stored
}

struct AbandonUpload { uploadId @0 :Data; }

struct StorageFailed {
  requestId   @0 :UInt64;
  reason      @1 :Text;
  directory   @2 :Text;         # not empty: the memory under it is full
  neededBytes @3 :UInt64;
  freeBytes   @4 :UInt64;
}

struct Statistics {
  requestId @0 :UInt64;
  waiting   @1 :UInt32;         # requests for objects that do not exist yet
  uploads   @2 :UInt32;         # objects on their way here
  dropped   @3 :UInt64;         # malformed messages since the start
  freeBytes @4 :UInt64;
  owners    @5 :List(OwnerShare);
}

struct OwnerShare {
  owner   @0 :Data;
  objects @1 :UInt64;
  size    @2 :UInt64;         # bytes
}
