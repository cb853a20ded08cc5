"""The stock of sentences of reports that name no finding of their own, and of what a report excludes."""

ABSENT = {
    "edema": ("pulmonary edema", "overt pulmonary edema"),
    "consolidation": ("focal consolidation", "consolidation"),
    "pleural_effusion": ("pleural effusion", "effusion"),
    "pneumothorax": ("pneumothorax",),
}
COMMON = {"edema": 0.35, "consolidation": 0.7, "pleural_effusion": 0.8, "pneumothorax": 0.85}  # are excluded by name
PLAIN = {
    "edema": "pulmonary edema",
    "pleural_effusion": "pleural effusion",
    "consolidation": "consolidation",
    "pneumothorax": "pneumothorax",
    "atelectasis": "basilar atelectasis",
}
SUPPORT = (("Support Devices", 1.0),)
VIEWS = {
    "AP": ("Single portable AP view of the chest.", "AP portable upright view of the chest.", "Single AP view."),
    "PA": ("Frontal view of the chest was obtained.", "Single PA view of the chest."),
    "lateral": ("PA and lateral views of the chest were obtained.", "Frontal and lateral views of the chest."),
}
COMPARED = (
    "In comparison with the study of ___, there is little change in positioning.",
    "Comparison is made to the prior radiograph from ___.",
    "As compared to the previous radiograph, the lung volumes are similar.",
)
NORMAL_HEART = (
    "The heart size is normal.",
    "Heart size is within normal limits.",
    "The heart is normal in size.",
    "Cardiac silhouette is not enlarged.",
)
CLEAR = ("The lungs are clear.", "Lungs are well expanded and clear.", "The lungs are clear bilaterally.")
NORMAL: tuple[tuple[tuple[str, ...], float, tuple[tuple[str, float], ...]], ...] = (
    (
        (
            "The mediastinal and hilar contours are unremarkable.",
            "Mediastinal contours are normal.",
            "The cardiomediastinal contours are stable.",
        ),
        0.5,
        (("Enlarged Cardiomediastinum", 0.0),),
    ),
    (
        ("No acute osseous abnormality.", "The osseous structures are intact.", "Bony structures are unremarkable."),
        0.35,
        (),
    ),
    (("No displaced rib fracture is seen.", "There is no acute rib fracture."), 0.1, (("Fracture", 0.0),)),
    (("The imaged upper abdomen is unremarkable.", "No free air below the diaphragm."), 0.2, ()),
    (("Aortic knob calcifications are noted.", "The aorta is tortuous."), 0.12, ()),
)
LATERAL = (
    "The lateral view shows no additional abnormality.",
    "On the lateral view, the retrosternal space is clear.",
    "Degenerative changes of the thoracic spine are seen on the lateral view.",
)
DEVICES = {
    "endotracheal tube": (
        "The endotracheal tube terminates {cm} cm above the carina.",
        "ET tube tip is {cm} cm from the carina.",
    ),
    "enteric tube": (
        "Enteric tube courses below the diaphragm.",
        "The nasogastric tube tip projects over the stomach.",
    ),
    "central line": (
        "Right internal jugular central venous catheter terminates in the lower SVC.",
        "The right IJ line tip projects over the SVC.",
    ),
    "PICC": ("Right PICC line terminates in the mid SVC.", "The right PICC tip is at the cavoatrial junction."),
    "pacemaker": (
        "Left chest wall pacemaker has leads in the right atrium and right ventricle.",
        "Dual lead left-sided pacemaker is in place.",
    ),
    "sternotomy wires": (
        "Median sternotomy wires are intact.",
        "The patient is status post median sternotomy and CABG.",
    ),
}
NOTHING = (
    "No acute cardiopulmonary process.",
    "No acute intrathoracic process.",
    "No acute cardiopulmonary abnormality.",
    "Normal chest radiograph.",
)
AS_ABOVE = ("Findings as described above.",)
LITTLE = ("No significant change from the prior study.", "Little interval change since ___.")
NOTICE = (
    "Findings were discussed with Dr. ___ by telephone.",
    "These findings were reported to Dr. ___ at the time of discovery.",
)
