"""The types of the JSON documents of each command.

They describe what commands write; tests hold every document of every command against the schema that is made of them.
"""

from skrd4ad.cli.schema.data import (
    AppDocument,
    DemoDocument,
    DoctorDocument,
    HistoryDocument,
    HistoryFile,
    HistoryVerification,
    LabelsExportDocument,
    LabelsImportDocument,
    RolesDocument,
    ServeDocument,
    ServeKeysDocument,
)
from skrd4ad.cli.schema.figures import (
    CalibrateDocument,
    CalibrationInUse,
    CalibrationVersions,
    CompareDocument,
    EvaluateDocument,
    PredictDocument,
    ReportDocument,
    ScoreDocument,
    SubmissionDocument,
    WatchDocument,
)
from skrd4ad.cli.schema.models import (
    BundleDocument,
    ExportDocument,
    ImportedBundleModel,
    ImportedModel,
    ModelsDocument,
    RetrainDocument,
    RuntimesDocument,
    TrainDocument,
)
from skrd4ad.cli.schema.study import ChallengeDocument, StudyDocument

DOCUMENTS: dict[str, tuple[type, ...]] = {
    "app": (AppDocument,),
    "bundle": (BundleDocument,),
    "calibrate": (CalibrateDocument, CalibrationInUse, CalibrationVersions),
    "challenge": (ChallengeDocument,),
    "compare": (CompareDocument,),
    "demo": (DemoDocument,),
    "doctor": (DoctorDocument,),
    "evaluate": (EvaluateDocument,),
    "export": (ExportDocument,),
    "history": (HistoryDocument, HistoryFile, HistoryVerification),
    "import-bundle": (ImportedBundleModel,),
    "import-rd4ad": (ImportedModel,),
    "labels": (LabelsExportDocument, LabelsImportDocument),
    "models": (ModelsDocument,),
    "predict": (PredictDocument, SubmissionDocument),
    "report": (ReportDocument,),
    "retrain": (RetrainDocument,),
    "roles": (RolesDocument,),
    "runtimes": (RuntimesDocument,),
    "score": (ScoreDocument,),
    "serve": (ServeDocument,),
    "serve-key": (ServeKeysDocument,),
    "study": (StudyDocument,),
    "train": (TrainDocument,),
    "watch": (WatchDocument,),
}
"""By command, but for ``schema``, whose document is a JSON schema itself."""
