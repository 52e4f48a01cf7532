@0xd5b07e1f6a3c9042;
# The wire format of Scaler: one Packet is the first frame of a ZeroMQ message; each body that carries a payload owns one of
# the frames behind it, in order. Columns are native little-endian arrays inside Data (see batch.py).

struct Packet {
  firstSequence @0 :UInt64;   # of the first body; 0: the bodies are outside the sequence (session control)
  acknowledged  @1 :UInt64;   # every sequence number up to here has been received
  bodies        @2 :List(Body);
  frameCounts   @3 :Data;     # UInt32 column: how many frames each payload takes; empty: one each
}

struct Body {
  union {
    register          @0  :Register;
    registered        @1  :Registered;
    refused           @2  :Refused;
    registerFirst     @3  :Empty;
    heartbeat         @4  :Empty;
    leave             @5  :Leave;

    defineFunction    @6  :DefineFunction;
    forgetFunctions   @7  :ForgetFunctions;
    submitBatch       @8  :SubmitBatch;
    abandonBatches    @9  :AbandonBatches;
    taskResults       @10 :TaskResults;
    notice            @11 :Notice;
    requestShutdown   @12 :Empty;
    shutdownRefused   @13 :ShutdownRefused;
    shutdown          @14 :Shutdown;

    workerHello       @15 :WorkerHello;
    assignSlice       @16 :AssignSlice;
    recallSlices      @17 :SliceLimits;
    slicesReturned    @18 :SliceLimits;

    hostReport        @19 :HostReport;
    processEnded      @20 :ProcessEnded;

    adapterReport     @21 :AdapterReport;
    adapterCommand    @22 :AdapterCommand;

    cancelTasks       @23 :CancelTasks;
    endTask           @24 :EndTask;
    workersDrained    @25 :WorkersDrained;

    taskOutput        @26 :TaskOutput;
    lendSlot          @27 :LendSlot;
    endHelpers        @28 :EndHelpers;
    suspendWorker     @29 :SuspendWorker;
    holdOutput        @30 :HoldOutput;
  }
}

struct Empty {}

# ---- sessions

struct Register {
  role            @0 :Text;
  sessionId       @1 :Data;     # 16 bytes
  secret          @2 :Data;     # 16 bytes
  product         @3 :Text;
  protocolVersion @4 :UInt32;
  pythonVersion   @5 :Text;     # major.minor
  name            @6 :Text;
  hostName        @7 :Text;
  pid             @8 :UInt32;
  instanceId      @9 :Data;     # the scheduler instance this session belonged to, empty at first
  received        @10 :UInt64;  # highest sequence number received from that instance
  heartbeatSeconds @11 :Float64; # between signs of life; 0: it sends none
  parentWorker      @12 :Text;    # of a client inside a task: the worker whose process it lives in
  parentIncarnation @13 :UInt32;
}

struct Registered {
  instanceId         @0 :Data;
  received           @1 :UInt64;
  warning            @2 :Text;
  maxUnfinishedTasks @3 :UInt64;
  maxUnfinishedBytes @4 :UInt64;
  resumed            @5 :Bool;
  objectStorageAddress @6 :Text; # empty: there is none
}

struct Refused { reason @0 :Text; }
struct Leave { reason @0 :Text; }

# ---- clients

struct DefineFunction {
  functionId @0 :Data;          # 16 bytes
  name       @1 :Text;
}

struct ForgetFunctions { functionIds @0 :List(Data); }

struct SubmitBatch {
  batchId      @0 :UInt64;
  functionId   @1 :Data;
  count        @2 :UInt32;      # tasks
  priority     @3 :Int32;
  encoding     @4 :UInt8;
  timed        @5 :Bool;
  blockCounts  @6 :Data;        # UInt32 column: tasks in each block
  blockSizes   @7 :Data;        # UInt32 column: bytes of each block in the payload
  capabilities @8 :List(Capability);
  finished     @9 :Data;        # UInt32 column of pairs: tasks [start, stop) that need not run, in order
  streamOutput @10 :Bool;
  dependencyCounts  @11 :Data;  # UInt32 column: for each task, how many results it waits for; empty: none waits
  dependencyBatches @12 :Data;  # UInt64 column: where these results come from: the same client's batch ...
  dependencyTasks   @13 :Data;  # UInt32 column: ... and the task in it
  graph        @14 :UInt64;     # batches of one graph follow each other; 0: not part of one
  graphReady   @15 :UInt32;     # tasks of the whole graph that wait for nothing
}

struct CancelTasks {
  batchId @0 :UInt64;
  starts  @1 :Data;             # UInt32 column: first task of each run
  counts  @2 :Data;             # UInt32 column: tasks in each run
}

struct Capability {
  name  @0 :Text;
  value @1 :Int64;              # -1: without quantity
}

struct AbandonBatches { batchIds @0 :List(UInt64); }

struct TaskResults {
  sliceId   @0 :UInt64;         # 0 on the way to the client
  clientId  @1 :Data;
  batchId   @2 :UInt64;
  starts    @3 :Data;           # UInt32 column: first task of each run
  counts    @4 :Data;           # UInt32 column: tasks in each run
  statuses  @5 :Data;           # UInt8 column
  sizes     @6 :Data;           # UInt32 column: bytes of each run in the payload
  durations @7 :Data;           # Float64 column: seconds, sum over each run
  memory    @8 :Data;           # UInt64 column: bytes above the resident size at the start; empty: not measured
  cpu       @9 :Data;           # Float64 column: user and system seconds; empty: not measured
}

struct TaskOutput {
  clientId @0 :Data;            # empty on the way to the client
  isError  @1 :Bool;            # standard error, not standard output
  stream   @2 :UInt32;          # counts the streams of a process: one begins whenever another client's tasks do
  position @3 :UInt64;          # bytes of the stream before these
  workerId @4 :Text;            # from a host: of the dead process that has left this, maybe partly sent by itself
  incarnation @5 :UInt32;
}

struct HoldOutput {
  clientId @0 :Data;            # empty on the way from the client
  isHeld   @1 :Bool;
}

struct Notice { cause @0 :Text; text @1 :Text; }
struct ShutdownRefused { reason @0 :Text; }
struct Shutdown { reason @0 :Text; dismissed @1 :Bool; }

# ---- workers

struct WorkerHello {
  workerId     @0 :Text;
  incarnation  @1 :UInt32;
  hostId       @2 :Data;        # session id of its host
  groupId      @3 :Text;
  queueSize    @4 :UInt32;
  pid          @5 :UInt32;
  capabilities @6 :List(Capability);
  lender       @7 :Text;        # of a helper: the worker whose slot it uses
  suspends     @8 :Bool;        # its host stops a process that has lent its slot
  held         @9 :List(HeldSlice);  # what it still has of a scheduler before this one
}

struct HeldSlice {
  sliceId  @0 :UInt64;
  clientId @1 :Data;
  batchId  @2 :UInt64;
  start    @3 :UInt32;  # tasks [start, stop)
  stop     @4 :UInt32;
}

struct AssignSlice {
  sliceId     @0 :UInt64;
  clientId    @1 :Data;
  batchId     @2 :UInt64;
  functionId  @3 :Data;
  start       @4 :UInt32;       # tasks [start, stop) of the batch are to be run
  stop        @5 :UInt32;
  first       @6 :UInt32;       # task number at which the first block in the payload begins, <= start
  priority    @7 :Int32;
  encoding    @8 :UInt8;
  timed       @9 :Bool;
  blockCounts @10 :Data;
  blockSizes  @11 :Data;
  streamOutput @12 :Bool;
  dependencyCounts    @13 :Data; # UInt32 column: for each task, how many results follow the blocks in the payload
  dependencyStatuses  @14 :Data; # UInt8 column: how each is held, as a run of TaskResults
  dependencyPositions @15 :Data; # UInt32 column: which result of the run
  dependencySizes     @16 :Data; # UInt32 column: bytes of each in the payload
  dependencyRepeats   @17 :Data; # UInt32 column: 0, or n for the bytes of the n-th of these; empty: all have their own
}

struct SliceLimits {
  sliceIds @0 :Data;            # UInt64 column
  limits   @1 :Data;            # UInt32 column: the slice ends before this task
}

# ---- hosts

struct EndTask {
  workerId    @0 :Text;
  incarnation @1 :UInt32;
  sliceId     @2 :UInt64;
  task        @3 :UInt32;
}

struct WorkersDrained { workerIds @0 :List(Text); }

struct LendSlot {
  workerId    @0 :Text;
  incarnation @1 :UInt32;
  helperId    @2 :Text;         # worker id of the helper to be started
}

struct EndHelpers { helperIds @0 :List(Text); }

struct SuspendWorker {
  workerId    @0 :Text;
  incarnation @1 :UInt32;
  suspended   @2 :Bool;
}

struct HostReport {
  workers          @0 :List(WorkerReport);
  cpu              @1 :Float64; # of the host: percent of one core, since the last report
  rss              @2 :UInt64;  # of the host: bytes
  freeMemory       @3 :UInt64;  # of the machine: bytes
  roundTripSeconds @4 :Float64; # of the last heartbeat
}

struct WorkerReport {
  workerId    @0 :Text;
  groupId     @1 :Text;
  incarnation @2 :UInt32;
  pid         @3 :UInt32;
  state       @4 :Text;
  cpu         @5 :Float64;      # sum over its processes: percent of one core, since the last report
  rss         @6 :UInt64;       # sum over its processes: bytes
  hasTask     @7 :Bool;         # a task has begun and not ended in it
  taskLock    @8 :Bool;         # that task does not wait for tasks of its own
}

struct ProcessEnded {
  workerId    @0 :Text;
  incarnation @1 :UInt32;
  cause       @2 :Text;         # exit, signal, planned, cancelled or timeout
  code        @3 :Int32;        # exit code or signal number
  sliceId     @4 :UInt64;       # what it was running, 0: nothing
  task        @5 :UInt32;
  replaced    @6 :Bool;
  detail      @7 :Text;
  stderrTail  @8 :Text;         # the last it wrote to its standard error
}

# ---- adapters

struct AdapterReport {
  name            @0 :Text;
  revision        @1 :UInt64;   # of the last command carried out
  maxWorkerGroups @2 :Int32;
  workersPerGroup @3 :UInt32;
  capabilities    @4 :List(Capability);
  groups          @5 :List(GroupReport);
  statuses        @6 :List(GroupStatus);
}

struct GroupReport {
  groupId      @0 :Text;
  state        @1 :Text;
  reason       @2 :Text;
  workerIds    @3 :List(Text);
  capabilities @4 :List(Capability);
}

struct GroupStatus { groupId @0 :Text; status @1 :Text; reason @2 :Text; }

struct AdapterCommand {
  revision @0 :UInt64;
  groups   @1 :List(GroupSpec);  # shall exist
  stop     @2 :List(Text);       # shall go
  registered @3 :List(Text);     # of the groups, those whose workers the scheduler has heard of
}

struct GroupSpec { groupId @0 :Text; capabilities @1 :List(Capability); }
